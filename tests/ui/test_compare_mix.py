"""Columns of an own mix, and the pictures of the tab: what each column is given, and what is refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import event, request, run
from vlm_demo.images.open import Page
from vlm_demo.ui.tabs.chat.transcript import Example
from vlm_demo.ui.tabs.compare import compare_start, presets
from vlm_demo.ui.tabs.compare.compare_events import CompareEvents, CompareParts
from vlm_demo.ui.tabs.compare.compare_state import Side
from vlm_demo.ui.tabs.compare.comparison import MOST
from vlm_demo.ui.tabs.compare.presets import ONLY_OPERATOR

PARTS = CompareParts(**{handlers.name: handlers.name for handlers in fields(CompareParts)})
VISITOR = {"client": "10.0.0.9", "host": "vlm.example.org"}


@pytest.fixture
def loaded() -> list[tuple[str, str]]:
    """What was loaded besides the model in service."""
    return []


@pytest.fixture
def tab(page, picture, loaded, monkeypatch) -> CompareEvents:
    """The tab on an own mix; the chat has a picture and a question."""
    monkeypatch.setattr(presets.local, "ocr_missing", lambda settings: None)
    monkeypatch.setattr(presets.offers, "embedded", lambda: ["llava", "other"])
    monkeypatch.setattr(presets.model_menu, "unquantizable", dict)

    def load(model, quantize, progress):
        loaded.append((model, quantize))
        return FakeEngine(model, quantize, answer="a blue square")

    events = page(FakeEngine(answer="a red circle"), load)
    run(events, events.ask({"text": "What is this?", "files": [str(picture)]}, False, False, request()))
    handlers = CompareEvents(events, events.service, PARTS)
    handlers.choose(event(preset="mix"), request())
    return handlers


def sides_of(tab: CompareEvents) -> list[Side]:
    return tab.state(tab.sessions.of("a")).sides


def compared(tab: CompareEvents, gradio_request=None) -> dict:
    state = dict(tab.ask("What is this?", gradio_request or request()))
    for changes in tab.compare(gradio_request or request()):
        state |= changes
    return state


def columns_of(tab: CompareEvents) -> list:
    return tab.state(tab.sessions.of("a")).comparison.columns


@pytest.fixture
def upload(tmp_path: Path):
    """Puts a picture where an upload lies; of several colours, a TIFF of so many frames."""

    def put(name: str, *colours: str) -> str:
        path = tmp_path / "up" / name
        path.parent.mkdir(exist_ok=True)
        first, *others = (Image.new("RGB", (64, 48), colour) for colour in colours)
        first.save(path, **({"save_all": True, "append_images": others} if others else {}))
        return str(path)

    return put


def test_a_mix_begins_with_two_columns_that_can_be_asked_at_once(tab):
    assert sides_of(tab) == [Side(), Side(ocr=True)]
    compared(tab)
    assert [(column.label, column.turn.ocr) for column in columns_of(tab)] == [("OCR off", False), ("OCR on", True)]


def test_each_column_has_a_model_a_precision_toggles_and_a_picture_of_its_own(tab, upload, loaded):
    tab.uploaded([upload("second.png", "green")], request())
    changes = [{"model": "other"}, {"quantize": "4bit"}, {"ocr": False}, {"evidence": True}, {"shows": 1}]
    for change in changes:
        tab.choose(event(of=1, **change), request())
    table = compared(tab)["table"]
    first, second = columns_of(tab)
    assert loaded == [("other", "4bit")] and (second.turn.model, second.turn.precision) == ("other", "4bit")
    assert (second.turn.ocr, second.turn.evidence_only) == (False, True)
    assert first.turn.pictures != second.turn.pictures and len(second.turn.pictures) == 1
    assert second.label == "other · 4-bit · Evidence only · Picture 2" and second.label in table
    assert first.label == "llava · Full precision · Free answer · Picture 1" and "<del>circle</del>" in table


def test_columns_are_added_up_to_four_and_taken_off_down_to_two(tab):
    for _ in range(MOST):
        changes = tab.choose(event(side="add"), request())
    assert len(sides_of(tab)) == MOST and changes["ask"]["value"] == "Ask all four"
    assert "Add a column" not in changes["start"]
    assert "Columns 2 and 3 ask the same" in tab.ask("What is this?", request())["start"]
    for _ in range(MOST):
        tab.choose(event(side="drop", of=3), request())
        tab.choose(event(side="drop", of=2), request())
    assert sides_of(tab) == [Side(), Side(ocr=True)]


def test_what_there_is_not_changes_nothing(tab):
    before = sides_of(tab)[:]
    for choice in ({"model": "none such"}, {"quantize": "2bit"}, {"shows": 1}, {"shows": -1}, {"ocr": "yes"}):
        tab.choose(event(of=0, **choice), request())
    tab.choose(event(of=7, ocr=True), request())
    assert sides_of(tab) == before


def test_a_visitor_mixes_all_but_models_and_precisions(tab, loaded):
    visitor = request(**VISITOR)
    for choice in ({"model": "other"}, {"quantize": "4bit"}):
        changes = tab.choose(event(of=1, **choice), visitor)
    assert sides_of(tab)[1] == Side(ocr=True) and ONLY_OPERATOR in changes["start"]
    compared(tab, visitor)
    assert [column.turn.state for column in columns_of(tab)] == ["done", "done"]
    tab.choose(event(of=1, model="other"), request())  # the operator laid it out, and is one no longer
    assert ONLY_OPERATOR in tab.ask("What is this?", visitor)["start"] and not loaded


def test_a_visitor_is_not_told_where_the_model_lies(tab, loaded):
    tab.service.model = "/srv/secret/llava"
    visitor = request(**VISITOR)
    html = tab.choose(event(of=1, model=""), visitor)["start"]
    assert "secret" not in html and '<option value="" selected>llava · in service' in html
    assert "secret" in tab.choose(event(of=1), request())["start"]
    assert "secret" not in compared(tab, visitor)["table"] and not loaded


def test_a_picture_that_is_taken_off_leaves_its_columns_the_questions_own(tab, upload):
    tab.uploaded([upload("green.png", "green"), upload("blue.png", "blue")], request())
    tab.choose(event(of=0, shows=1), request())
    tab.choose(event(of=1, shows=2), request())
    tab.choose(event(of=0, picture="off"), request())
    assert [side.shows for side in sides_of(tab)] == [0, 1]


def test_more_pictures_than_columns_are_refused_in_a_sentence(tab, upload):
    files = [upload(f"{name}.png", name) for name in ("green", "blue", "black", "white")]
    changes = tab.uploaded(files, request())
    assert f"{MOST} pictures can be compared" in changes["start"]
    assert changes["start"].count("<figure>") == MOST and not any(Path(file).exists() for file in files)


def test_a_frame_of_the_tabs_own_picture_is_chosen_as_in_chat(tab, upload):
    path = upload("scan.tiff", "red", "green", "blue")
    content = Path(path).read_bytes()
    tab.choose(event(preset="ocr"), request())
    changes = tab.uploaded([path], request())
    assert "of 3" in changes["start"] and 'max="3" value="1"' in changes["start"]
    assert 'value="2"' in tab.choose(event(of=0, page="2"), request())["start"]
    assert "no frame 9: choose 1 to 3" in tab.choose(event(of=0, page="9"), request())["start"]
    compared(tab)
    assert all(column.turn.sources == (Page(content, 2),) for column in columns_of(tab))


def test_a_picture_takes_the_place_of_the_chats_unless_pictures_are_compared(tab, upload):
    session = tab.sessions.of("a")
    tab.choose(event(preset="evidence"), request())
    tab.uploaded([upload("green.png", "green")], request())
    uploads = compare_start.uploads_of(session, tab.state(session))
    assert len(uploads) == 1 and not tab.state(session).more
    tab.choose(event(preset="pictures"), request())
    tab.uploaded([upload("blue.png", "blue")], request())
    assert compare_start.uploads_of(session, tab.state(session)) == uploads and len(tab.state(session).more) == 1


def test_an_example_is_laid_out_where_there_is_no_picture_yet(page, monkeypatch):
    monkeypatch.setattr(presets.local, "ocr_missing", lambda settings: None)
    preview = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
    events = page(examples=[Example("cat.jpg", b"a picture", preview, "What animal?")])
    handlers = CompareEvents(events, events.service, PARTS)
    assert "What animal?" in handlers.shown("", request())["table"]
    changes = handlers.example(event(index=0), request())
    assert changes["question"] == "What animal?" and "What animal?" not in changes["table"]
    assert (
        compare_start.uploads_of(handlers.sessions.of("a"), handlers.state(handlers.sessions.of("a")))[0].content
        == b"a picture"
    )


def test_a_page_that_opens_with_the_tab_has_no_question_yet(page, monkeypatch):
    monkeypatch.setattr(presets.local, "ocr_missing", lambda settings: None)
    events = page()
    handlers = CompareEvents(events, events.service, PARTS)
    assert "question" not in handlers.shown(None, request())
    assert compare_start.NO_PICTURE in handlers.ask(None, request())["start"]
