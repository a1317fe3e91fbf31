"""An address in the place of an upload: Gradio by itself would fetch it, the page asks allowed hosts alone."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import gradio as gr
import pytest
from gradio import processing_utils

from tests.kit import coroutines
from tests.kit.fake_engine import FakeEngine
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.images.remote_pictures import RemotePictures
from vlm_demo.ui import layout, web_pictures

ADDRESS = "https://images.example.org/<b>.png"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The addresses that Gradio fetches; what the page changes of it is put back afterwards."""
    for name in ("async_ssrf_protected_download", "async_ssrf_protected_get"):
        monkeypatch.setattr(processing_utils, name, getattr(processing_utils, name))
    found: list[str] = []

    async def get(url: str, **_: object) -> None:
        found.append(url)
        raise ConnectionError

    monkeypatch.setattr(processing_utils.sh, "get", get)
    yield found


def named(address: str) -> str:
    """What becomes of a file that a client names so, before any handler of the page sees it."""
    with gr.Blocks():
        composer = gr.MultimodalTextbox(file_count="multiple")
    file = {"path": address, "meta": {"_type": "gradio.FileData"}}
    moved = processing_utils.async_move_files_to_cache(
        {"text": "", "files": [file]}, composer, check_in_upload_folder=True
    )
    return coroutines.run(moved)["files"][0]["path"]


def unguarded() -> None:
    """Gradio's own functions, whichever page was built before."""
    spec = spec_from_file_location("gradio.fresh", processing_utils.__file__)
    assert spec and spec.loader
    fresh = module_from_spec(spec)
    spec.loader.exec_module(fresh)
    fresh.sh = processing_utils.sh
    processing_utils.async_ssrf_protected_download = fresh.async_ssrf_protected_download


def test_gradio_by_itself_would(fetched: list[str]) -> None:
    unguarded()
    with pytest.raises(ConnectionError):
        named(ADDRESS)
    assert fetched == [ADDRESS]


def test_a_page_fetches_nothing(fetched: list[str]) -> None:
    layout.build(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava"), [])
    with pytest.raises(gr.Error, match="is not fetched: download it") as caught:
        named(ADDRESS)
    assert not fetched and "<" not in caught.value.message
    with pytest.raises(gr.Error, match="upload the file"):
        coroutines.run(processing_utils.async_ssrf_protected_get(ADDRESS))


def test_but_from_hosts_that_were_allowed(fetched: list[str], tmp_path: Path, monkeypatch) -> None:
    class Allowed(RemotePictures):
        def fetch(self, address: str) -> bytes:
            assert address == ADDRESS
            return b"picture"

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    web_pictures.fetch_only(Allowed(("images.example.org",)))
    one, two = named(ADDRESS), named(ADDRESS)
    assert one != two  # two visitors share no file
    assert {Path(path).read_bytes() for path in (one, two)} == {b"picture"} and not fetched
