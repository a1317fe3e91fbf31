"""A conversation that was saved as JSON is opened again: its answers are read once more by the model in service."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import ask, event, request, run
from vlm_demo.errors import UnsupportedModel, VlmDemoError
from vlm_demo.ui.takeaway import conversation_reader

EVIL = "${alert(1)} {{x}} <img src=x onerror=alert(2)>"


@pytest.fixture
def saved(page, picture: Path, tmp_path: Path) -> Path:
    """A file of two turns about one picture, as the page hands it over."""
    events = page(FakeEngine("first-model", answer="a large star"))
    (upload := tmp_path / "1" / "picture.png").parent.mkdir()  # it is deleted once it is read
    upload.write_bytes(picture.read_bytes())
    run(events, events.ask({"text": f"One {EVIL}?", "files": [str(upload)]}, True, False, request()))
    run(events, events.ask({"text": "Two?", "files": []}, False, True, request()))
    link = events.takeaway.export(event(kind="json"), request())["download"]
    file = tmp_path / "conversation.json"
    file.write_bytes(base64.b64decode(re.search(r"base64,([^\"]+)", str(link))[1]))
    return file


def opened(events, file: Path) -> dict:
    return run(events, events.ask({"text": "", "files": [str(file)]}, False, False, request()))


def test_questions_pictures_and_answers_are_there_again_and_read_here(page, saved: Path, picture: Path) -> None:
    engine, content = FakeEngine("second-model", answer="something else"), picture.read_bytes()
    read: list[tuple[str, str]] = []
    explain = engine.explain
    engine.explain = lambda asked, text: read.append((asked.question, text)) or explain(asked, text)
    events = page(engine)
    run(events, events.ask({"text": "Before?", "files": [str(picture)]}, False, False, request()))
    state = opened(events, saved)
    turns = events.sessions.of("a").exchanges
    assert [turn.state for turn in turns] == ["done", "done"]
    assert read == [(f"One {EVIL}?", "a large star"), ("Two?", "a large star")]
    assert [(turn.ocr, turn.evidence_only) for turn in turns] == [(True, False), (False, True)]
    assert turns[0].pictures == (content,) and turns[0].names == ("picture.png",)
    assert turns[1].pictures == ()
    assert "first-model" in turns[1].replayed and "second-model" in turns[1].replayed
    chat = str(state["chat"])
    assert "Before?" not in chat and "first-model gave this answer" in chat
    assert "first word" not in chat  # none was written
    assert "<img src=x" not in chat and "&lt;img src=x" in chat
    assert "img" in events.parts.map(events.sessions.of("a"))["heatmap"]


@pytest.mark.parametrize("read", [True, False])
def test_saved_once_more_it_names_the_model_that_gave_the_answers(page, saved: Path, read: bool) -> None:
    events = page(FakeEngine("second-model"))
    if read:
        opened(events, saved)
    else:
        events.ask({"text": "", "files": [str(saved)]}, False, False, request())
        events.stop(request())
    links = {kind: str(events.takeaway.export(event(kind=kind), request())["download"]) for kind in ("json", "html")}
    content = {kind: base64.b64decode(re.search(r"base64,([^\"]+)", link)[1]) for kind, link in links.items()}
    assert [turn.model for turn in conversation_reader.read(content["json"])] == ["first-model", "first-model"]
    shown = re.findall("(first-model|second-model)([^ ]*) ·", content["html"].decode())
    assert shown == [("first-model", "")] * 2


def test_the_progress_says_which_answer_is_being_read(page, saved: Path) -> None:
    events = page()
    asked = events.ask({"text": "", "files": [str(saved)]}, False, False, request())
    assert "Waiting for its turn" in str(asked["live"])
    drawn = [str(changes["live"]) for changes in events.answer(request())]
    assert ["1 of 2" in html or "2 of 2" in html for html in drawn] == [*[True] * (len(drawn) - 1), False]
    assert not any("Waiting" in html for html in drawn) and "1 of 2" in drawn[0]


@pytest.mark.parametrize("end", ["stop", "a new question"])
def test_answers_that_were_not_read_yet_stay_when_it_is_stopped(page, saved: Path, end: str) -> None:
    events = page()
    events.ask({"text": "", "files": [str(saved)]}, False, False, request())
    reading = events.answer(request())
    next(reading)
    state = events.stop(request()) if end == "stop" else ask(events, "And now?")
    list(reading)
    first, second = events.sessions.of("a").exchanges[:2]
    assert (first.answer_text, second.answer_text, second.state) == ("a large star", "a large star", "stopped")
    assert "a large star" in str(state["chat"])


def test_a_follow_up_goes_on_with_the_picture(page, saved: Path) -> None:
    events = page(engine := FakeEngine("second-model"))
    opened(events, saved)
    run(events, events.ask({"text": "Three?", "files": []}, False, False, request()))
    assert engine.requests[-1]["question"] == "Three?"
    assert [turn.answer for turn in engine.requests[-1]["history"]] == ["a large star", "a large star"]


def test_a_model_that_explains_nothing_says_so_in_each_turn(page, saved: Path) -> None:
    engine = FakeEngine()

    def explain(*_: Any) -> None:
        raise UnsupportedModel("This model gives no heatmaps.")

    engine.explain = explain
    events = page(engine)
    opened(events, saved)
    assert {turn.problem for turn in events.sessions.of("a").exchanges} == {"This model gives no heatmaps."}


def changed(file: Path, **turn: Any) -> bytes:
    document = json.loads(file.read_text())
    for name, value in turn.items():
        document["turns"][0][name] = value
    return json.dumps(document).encode()


def upload(**fields: Any) -> list[dict]:
    return [{"name": "a.png", "page": None, "data": "AAAA"} | fields]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda file: file.read_bytes()[:-9], "no conversation that was saved here"),
        (lambda file: changed(file, question=3), "no conversation"),
        (lambda file: changed(file, uploads=upload(data="%%%")), "no conversation"),
        (lambda file: changed(file, uploads=upload(page=0)), "no conversation"),
        (lambda file: changed(file, uploads=upload(page="1")), "no conversation"),
        (lambda file: changed(file, uploads=[7]), "no conversation"),
        (lambda file: changed(file, uploads=upload()), "not a picture"),
        (lambda file: changed(file, uploads=[]), "without its pictures"),
        (lambda file: json.dumps({**json.loads(file.read_text()), "turns": []}).encode(), "no answer"),
        (lambda file: json.dumps({**json.loads(file.read_text()), "version": 99}).encode(), "no conversation"),
        (lambda file: b'{"format": "vlm_demo conversation", "turns": ' + b"[" * 100_000, "no conversation"),
    ],
)
def test_a_bad_file_is_one_sentence_and_the_chat_stays(page, saved: Path, picture: Path, spoil, sentence: str) -> None:
    saved.write_bytes(spoil(saved))
    events = page()
    run(events, events.ask({"text": "Before?", "files": [str(picture)]}, False, False, request()))
    changes = events.ask({"text": "", "files": [str(saved)]}, False, False, request())
    assert sentence in str(changes["status"]) and "chat" not in changes
    assert [turn.question for turn in events.sessions.of("a").exchanges] == ["Before?"]


def test_the_picture_of_a_question_without_an_answer_is_that_of_the_next(saved: Path) -> None:
    document = json.loads(saved.read_bytes())
    first, second = document["turns"]
    first["answer"] = ""
    (turn,) = conversation_reader.read(json.dumps(document).encode())
    assert turn.question == second["question"] and turn.uploads[0].name == "picture.png"
    other = {**first, "uploads": [{"name": "other.png", "page": None, "data": "AAAA"}]}
    document["turns"] = [{**first, "answer": "a star"}, other, second, second]
    turns = conversation_reader.read(json.dumps(document).encode())
    assert [[upload.name for upload in turn.uploads] for turn in turns] == [["picture.png"], ["other.png"], []]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("..\\..\\etc/pass/wd.png", "wd.png"),
        ("a/..", "picture"),
        ("b\0a\nd.png", "bad.png"),
        ("\ud800.png", "png"),
        ("\N{GRINNING FACE}" * 90 + ".png", "\N{GRINNING FACE}" * 24 + ".png"),
    ],
)
def test_file_names_are_names_alone_that_undo_can_write(page, saved: Path, name: str, expected: str) -> None:
    whole = json.loads(saved.read_text())["turns"][0]["uploads"][0]["data"]
    document = changed(saved, uploads=upload(name=name, data=whole))
    assert conversation_reader.read(document)[0].uploads[0].name == expected
    saved.write_bytes(document)
    events = page()
    opened(events, saved)
    for _ in events.sessions.of("a").exchanges[1:]:
        events.undo(request())
    back = Path(events.undo(request())["composer"]["value"]["files"][0])
    assert back.name == expected and back.is_file()


def test_of_a_huge_conversation_the_first_turns_are_taken(saved: Path) -> None:
    document = json.loads(saved.read_text())
    document["turns"] = document["turns"][:1] + document["turns"][1:] * 200
    assert len(conversation_reader.read(json.dumps(document).encode())) == conversation_reader.MOST


def test_a_file_that_is_too_large_is_not_parsed(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation_reader, "BIGGEST", 2**20)
    with pytest.raises(VlmDemoError, match="more than 1 MB"):
        conversation_reader.read(saved.read_bytes() + b" " * 2**20)


def test_other_json_is_no_conversation(tmp_path: Path) -> None:
    assert not conversation_reader.is_conversation(b'{"a": 1}')
    with pytest.raises(VlmDemoError, match="no conversation"):
        conversation_reader.read(b'{"a": 1}')
