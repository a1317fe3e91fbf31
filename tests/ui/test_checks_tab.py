"""The checklist on the page: five dots under an answer, a panel, and one press that does what it advises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from tests.kit.ui import ask, event, request, run
from tests.kit.views import read
from vlm_demo.contracts.checks import FAIL, HALLUCINATION, LATENCY, NAMES, OPEN, PASS, SMALL_TEXT, WARN
from vlm_demo.engines import live_checks
from vlm_demo.engines.picture_costs import costs
from vlm_demo.errors import Stopped, VlmDemoError
from vlm_demo.stages import ocr
from vlm_demo.ui.sessions import Sessions
from vlm_demo.ui.tabs.chat.chat_events import Events


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten words of three pixels are found."""
    monkeypatch.setattr(FakeEngine, "read_text", lambda *_, **__: read(*[3] * 10))


def answered(events: Events, picture: Path, question: str = "What is the total?") -> dict:
    state = run(events, events.ask({"text": question, "files": [str(picture)]}, False, False, request()))
    for changes in (*events.deferred_maps.ground(request()), *events.checks.finish(request())):
        state |= changes
    return state


def checks_of(events: Events) -> dict:
    return {check.name: check for check in events.sessions.of("a").last.answer.checks}


def test_five_dots_stand_under_the_answer_and_open_the_tab(page, picture, letters) -> None:
    chat = str(answered(page(), picture)["chat"])
    assert chat.count('role="img"') == len(NAMES) and 'data-tab="Checks"' in chat
    places = [chat.index(f'aria-label="{name}: ') for name in NAMES]
    assert places == sorted(places)


def test_what_was_open_is_measured_after_the_answer(page, picture, letters) -> None:
    events = page()
    run(events, events.ask({"text": "What?", "files": [str(picture)]}, False, False, request()))
    assert checks_of(events)[SMALL_TEXT].verdict == checks_of(events)[HALLUCINATION].verdict == OPEN
    list(events.deferred_maps.ground(request()))
    list(events.checks.finish(request()))
    checks = checks_of(events)
    assert checks[SMALL_TEXT].verdict == FAIL and checks[SMALL_TEXT].values["upload_height"] == 3
    assert checks[HALLUCINATION].verdict == WARN and checks[HALLUCINATION].values["level"] == "weak"


def test_a_failed_check_says_its_remedy_under_the_answer_too(page, picture, letters) -> None:
    state = answered(page(), picture)
    value = json.dumps({"press": "ocr", "turn": 0}).replace('"', "&#34;")
    assert f'data-value="{value}"' in str(state["chat"])
    panel = str(state["checks"])
    assert panel.startswith("<h3>The text is too small") and panel.count('class="solid"') == 1
    assert "<li" in panel and panel.count("<details") == len(NAMES) + 1


def test_what_each_model_would_make_of_the_picture_stands_folded_under_the_checks(page, picture, letters) -> None:
    width, height = Image.open(picture).size
    panel = str(answered(page(), picture)["checks"])
    table = panel[panel.index('<details class="costs"') :]
    assert panel.index(LATENCY) < panel.index("costs") and "open" not in table.split(">")[0]
    assert f"({width} × {height})" in table
    rows = {cost.name: cost for cost in costs((width, height))}
    assert len(rows) == table.count('<th scope="row">') > 25
    for name in ("LLaVA-1.5 7B", "InternVL3 8B"):
        row = table[table.index(f'"row">{name}<') :].split("</tr>")[0]
        assert f"<td>{rows[name].image_tokens:,}</td>" in row
    assert "<td>576</td><td>14%</td><td>14.4 GB</td><td>5.1 GB</td>" in table


def test_a_model_that_refuses_the_picture_says_so_in_the_table(page, tmp_path, letters) -> None:
    Image.new("RGB", (2, 500)).save(tmp_path / "thin.png")
    panel = str(answered(page(), tmp_path / "thin.png")["checks"])
    row = panel[panel.index('"row">Qwen2.5-VL 7B<') :].split("</tr>")[0]
    assert row.count("<td") == 1 and "too elongated" in row


def test_one_press_asks_again_with_ocr_and_both_answers_stay(page, picture, letters) -> None:
    pipe = FakeEngine()
    events = page(pipe)
    answered(events, picture)
    changes = events.checks.remedy(event(remedy={"press": "ocr", "turn": 0}), request())
    assert changes["ocr"] is True and changes["evidence_only"] is False
    run(events, changes)
    first, second = events.sessions.of("a").exchanges
    assert pipe.requests[-1]["ocr"] and second.question == first.question and second.pictures == first.pictures
    assert first.answer and second.answer and checks_of(events)[SMALL_TEXT].verdict == PASS


def test_a_press_in_the_panel_means_the_shown_answer(page, picture, letters) -> None:
    events = page()
    answered(events, picture)
    changes = events.checks.remedy(event(remedy={"press": "evidence_only"}), request())
    assert changes["evidence_only"] is True and events.sessions.of("a").last.evidence_only


def test_a_press_under_a_follow_up_asks_about_its_own_picture(page, picture, letters, tmp_path) -> None:
    events = page()
    answered(events, picture)
    run(events, events.ask({"text": "And the circle?", "files": []}, False, False, request()))
    other = tmp_path / "other.png"
    Image.new("RGB", (40, 30), "green").save(other)
    run(events, events.ask({"text": "What is it?", "files": [str(other)]}, False, False, request()))
    run(events, events.checks.remedy(event(remedy={"press": "evidence_only", "turn": 1}), request()))
    first, _, third, last = events.sessions.of("a").exchanges
    assert last.question == "And the circle?" and last.pictures == first.pictures != third.pictures
    events.checks.remedy(event(remedy={"press": "ocr", "turn": 3}), request())
    assert events.sessions.of("a").last.pictures == last.pictures  # its own


def test_a_press_is_refused_while_too_many_questions_wait(page, picture, letters, monkeypatch) -> None:
    events = page()
    answered(events, picture)
    monkeypatch.setattr(Sessions, "full", True)
    told = events.checks.remedy(event(remedy={"press": "ocr", "turn": 0}), request())
    assert "Too many questions wait" in str(told["status"]) and len(events.sessions.of("a").exchanges) == 1


def test_a_new_question_ends_the_one_about_a_blank_picture_without_a_word(page, picture, letters, monkeypatch) -> None:
    def stopped(*_: object) -> None:
        raise Stopped("Another question came.")

    events = page()
    answered(events, picture)
    monkeypatch.setattr(live_checks, "about_blank", stopped)
    events.checks.ask_blank(request())
    (changes,) = events.checks.blank(request())
    assert "status" not in changes and "Ask about a blank picture" in str(changes["checks"])


def test_a_press_on_an_answer_that_is_gone_is_a_sentence(page) -> None:
    events = page()
    assert "no longer has this conversation" in str(
        events.checks.remedy(event(remedy={"press": "ocr", "turn": 3}), request())["status"]
    )


def test_a_blank_picture_is_asked_about_on_a_press(page, picture, letters) -> None:
    pipe = FakeEngine()
    events = page(pipe)
    before = str(answered(events, picture)["checks"])
    assert "Ask about a blank picture" in before
    for _ in range(2):  # the second press does nothing
        asking = str(events.checks.ask_blank(request())["checks"])
        assert "Asking about a blank picture" in asking and "Ask about a blank picture" not in asking
    asked = len(pipe.requests)
    (changes,) = events.checks.blank(request())
    list(events.checks.blank(request()))
    assert len(pipe.requests) == asked + 1
    (grey,) = pipe.requests[-1]["images"]
    assert grey.size == (300, 200) and grey.getcolors() == [(60_000, (128, 128, 128))]
    assert checks_of(events)[HALLUCINATION].values["same_as_blank"] is True
    assert "Ask about a blank picture" not in str(changes["checks"])


@pytest.mark.parametrize("end", ["a new question", "a failure"])
def test_a_blank_picture_can_be_asked_about_again(page, picture, letters, monkeypatch, end: str) -> None:
    def refused(*_: object) -> None:
        raise VlmDemoError("Another model is in service.")

    events = page()
    answered(events, picture)
    events.checks.ask_blank(request())
    if end == "a new question":
        ask(events, "And now?")
        assert not events.sessions.of("a").exchanges[0].blank
    else:
        monkeypatch.setattr(live_checks, "about_blank", refused)
        (changes,) = events.checks.blank(request())
        assert "Another model" in str(changes["status"]) and "Ask about a blank picture" in str(changes["checks"])


def test_a_blank_picture_that_gave_way_to_a_question_is_no_longer_being_asked_about(page, picture, letters) -> None:
    events = page()
    state = answered(events, picture)
    state |= events.checks.ask_blank(request())
    state |= ask(events, "And now?")
    state |= events.stop(request())  # before either had its turn
    for changes in (*events.checks.blank(request()), *events.answer(request())):
        state |= changes
    assert "Ask about a blank picture" in str(state["checks"])


def test_an_unexpected_error_with_a_blank_picture_is_a_sentence(page, picture, letters, monkeypatch, caplog) -> None:
    message = "private"

    def broken(*_: object) -> None:
        raise RuntimeError(message)

    events = page()
    answered(events, picture)
    monkeypatch.setattr(live_checks, "about_blank", broken)
    events.checks.ask_blank(request())
    (changes,) = events.checks.blank(request())
    assert "unexpected" in str(changes["status"]) and "private" not in caplog.text
    assert "Ask about a blank picture" in str(changes["checks"])


def test_a_badge_outside_the_models_world_does_not_pass(page, picture, letters, monkeypatch) -> None:
    from vlm_demo.contracts import Grounding

    monkeypatch.setattr(FakeEngine, "grounding", lambda *_, **__: Grounding("grounded", 0.9, 0.9, 0.5, None, "Fine."))
    monkeypatch.setattr(FakeEngine, "in_distribution", lambda *_: 0.0)
    events = page()
    answered(events, picture)
    assert events.sessions.of("a").last.outside
    assert checks_of(events)[HALLUCINATION].verdict == OPEN


def test_text_of_a_model_is_text(page, picture, monkeypatch) -> None:
    monkeypatch.setattr(ocr, "read", lambda _image, _cancelled=None: read())
    events = page(FakeEngine(answer="<script>alert(1)</script> ${alert(1)}"))
    state = answered(events, picture, "<b>Who?</b>")
    assert "<script>" not in str(state["checks"]) + str(state["chat"])
