"""Which page of a PDF, or frame of a GIF or TIFF, is asked about: the field next to the composer."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import request, run
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.images.open import Page
from vlm_demo.ui import layout
from vlm_demo.ui.tabs.chat import page_choice

COLOURS = ("red", "green", "blue")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A TIFF of three frames, as an upload."""
    path = tmp_path / "paged" / "scan.tiff"
    path.parent.mkdir()
    first, *others = (Image.new("RGB", (30, 20), colour) for colour in COLOURS)
    first.save(path, save_all=True, append_images=others)
    return path


def ask(events, text: str, *files: Path) -> dict:
    return events.ask({"text": text, "files": [str(file) for file in files]}, False, False, request())


def look(events, *files: Path) -> dict:
    return events.page_choice.look({"text": "", "files": [str(file) for file in files]}, request())


def test_the_field_is_offered_only_for_a_file_that_has_several(page, picture, frames):
    events = page()
    assert look(events, picture)["visible"] is False
    offered = look(events, picture, frames)
    assert (offered["visible"], offered["maximum"], offered["label"]) == (True, 3, "Frame (of 3)")
    assert look(events)["visible"] is False


def test_the_chosen_frame_is_shown_and_asked_about(page, picture, frames):
    pipe = FakeEngine()
    events = page(pipe)
    content = frames.read_bytes()
    look(events, frames)
    events.page_choice.choose(2, request())
    run(events, ask(events, "What is it?", frames, picture))
    whole, single = pipe.requests[0]["images"]
    assert whole == Page(content, 2) and isinstance(single, bytes)
    (exchange,) = events.sessions.of("a").exchanges
    assert exchange.pages == (2, None)
    assert exchange.previews[0] == page_choice.pictures.preview(Image.new("RGB", (30, 20), "green"))
    run(events, events.retry(False, False, request()))
    assert pipe.requests[1]["images"][0] == Page(content, 2)


def test_a_missing_frame_is_reported_and_question_and_file_stay(page, frames):
    events = page()
    events.page_choice.choose(7, request())
    changes = ask(events, "What is it?", frames)
    assert "no frame 7: choose 1 to 3" in changes["status"] and not events.sessions.of("a").exchanges
    assert changes["composer"]["value"] == {"text": "What is it?", "files": [str(frames)]}


def test_the_choice_ends_with_its_question_and_comes_back_with_undo(page, frames):
    events = page()
    events.page_choice.choose(3, request())
    run(events, ask(events, "What is it?", frames))
    session = events.sessions.of("a")
    assert session.page == 1
    events.undo(request())
    assert session.page == 3


def test_the_field_stands_among_the_toggles_and_is_hidden_at_first():
    drawn = layout.build(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava"), []).config
    found = next(c for c in drawn["components"] if c["props"].get("elem_id") == "page-number")
    row = next(c for c in drawn["components"] if c["props"].get("elem_id") == "controls")

    def below(node: dict, inside: bool = False) -> list[int]:
        inside = inside or node["id"] == row["id"]
        own = [node["id"]] if inside else []
        return own + [one for child in node.get("children") or [] for one in below(child, inside)]

    assert found["id"] in below(drawn["layout"]) and found["props"]["visible"] is False
