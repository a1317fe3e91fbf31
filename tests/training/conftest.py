"""What the tests of training share."""

from collections.abc import Iterator

import pytest
import torch

from tests.kit import tiny_parts
from vlm_demo.models import smollm2
from vlm_demo.training import finetune
from vlm_demo.training.trained_parts import Parts


@pytest.fixture(scope="session")
def language(tmp_path_factory: pytest.TempPathFactory) -> smollm2.LanguageModel:
    return tiny_parts.language(tmp_path_factory.mktemp("language"))


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen weights stay in float32 on any processor, so that sums can be compared."""
    monkeypatch.setattr(finetune, "fast_dtype", lambda: torch.float32)


@pytest.fixture
def parts(language: smollm2.LanguageModel, in_float32: None) -> Iterator[Parts]:
    yield tiny_parts.compose(language)
