"""How long a server may send nothing."""

import pytest

from vlm_demo.engines.connection import Connection
from vlm_demo.engines.remote import connect
from vlm_demo.engines.remote_server import SILENT_SECONDS, SILENT_VARIABLE
from vlm_demo.errors import BadSetting


def seconds() -> float:
    return connect(Connection("http://127.0.0.1:9", "named")).server.silent_seconds


def test_the_environment_says_how_long_a_server_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SILENT_VARIABLE, raising=False)
    assert seconds() == SILENT_SECONDS
    monkeypatch.setenv(SILENT_VARIABLE, "7")
    assert seconds() == 7


@pytest.mark.parametrize("text", ["0", "-3", "soon", "1e9", "2.5"])
def test_what_is_no_number_of_seconds_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(SILENT_VARIABLE, text)
    with pytest.raises(BadSetting, match=SILENT_VARIABLE):
        seconds()
