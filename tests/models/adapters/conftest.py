"""One tiny checkpoint for each class of parity tests."""

import pytest

from tests.models.adapters.parity import Both


@pytest.fixture(scope="class")
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(request.cls.make(tmp_path_factory.mktemp("family")))
