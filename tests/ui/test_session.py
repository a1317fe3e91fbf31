"""Sessions: the context of a question, and which page owns which files."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from vlm_demo.errors import Stopped
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.session import Session
from vlm_demo.ui.sessions import Sessions


class Clock:
    """Stands in for ``threading.Timer`` and for the time of day: seconds pass only when it is told so."""

    def __init__(self) -> None:
        self._now, self._due = time.time(), []

    def time(self) -> float:
        return self._now

    def timer(self, seconds, call, arguments=()):
        return SimpleNamespace(start=lambda: self._due.append((self._now + seconds, call, arguments)))

    def passes(self, seconds: float) -> None:
        self._now += seconds
        due = [timer for timer in self._due if timer[0] <= self._now]
        self._due = [timer for timer in self._due if timer not in due]
        for _, call, arguments in due:
            call(*arguments)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("threading.Timer", clock.timer)
    monkeypatch.setattr("vlm_demo.ui.uploads.time", clock)
    monkeypatch.setattr("vlm_demo.ui.sessions.time", SimpleNamespace(monotonic=clock.time))
    return clock


def turn(question: str, *pictures: bytes, state: str = "done") -> ChatTurn:
    return ChatTurn(question, False, False, pictures, state=state, answer_text="yes" if state == "done" else "")


def test_a_follow_up_is_asked_with_the_earlier_turns_and_their_pictures():
    first, second, third = turn("one", b"A"), turn("two"), turn("three", state="waiting")
    pictures, history = Session([first, second, third]).context(third)
    assert pictures == []
    assert [(t.question, t.images) for t in history] == [("one", (b"A",)), ("two", ())]


def test_a_new_picture_starts_afresh():
    pictures, history = Session([turn("one", b"A"), latest := turn("two", b"B", b"C", state="waiting")]).context(latest)
    assert pictures == [b"B", b"C"] and history == []


def test_pictures_of_an_unanswered_turn_are_not_lost():
    stopped, latest = turn("one", b"A", state="stopped"), turn("two", state="waiting")
    assert Session([stopped, latest]).context(latest) == ([b"A"], [])


def test_a_conversation_whose_first_question_was_stopped_goes_on_with_what_was_answered():
    turns = [turn("one", b"A", state="stopped"), turn("two"), turn("three"), latest := turn("four", state="waiting")]
    pictures, history = Session(turns).context(latest)
    assert pictures == []
    assert [(t.question, t.images) for t in history] == [("two", (b"A",)), ("three", ())]


def test_a_removed_question_has_no_context():
    session = Session([latest := turn("one", b"A", state="waiting")])
    session.cut(0)
    with pytest.raises(Stopped):
        session.context(latest)


def test_questions_of_other_pages_that_were_asked_before_come_first():
    sessions = Sessions()
    first, second, third = turn("a", b"A", state="running"), *(turn(entry, b"A", state="waiting") for entry in "bc")
    for entry in (third, second, first):
        sessions.of(entry.question).exchanges.append(entry)
    assert [sessions.ahead(entry) for entry in (first, second, third)] == [0, 1, 2]
    sessions.of("b").exchanges.append(next_one := turn("b", state="waiting"))
    assert sessions.ahead(next_one) == 2  # its own page's is no other page's
    first.state = "done"
    assert [sessions.ahead(entry) for entry in (second, third)] == [0, 1]


def test_cutting_stops_the_computing_and_shows_the_answer_before():
    first, second = turn("one", b"A"), turn("two")
    first.answer = second.answer = object()
    session = Session([first, second])
    session.show(second)
    session.cut(1)
    assert second.stop.is_set() and not first.stop.is_set() and session.shown is first


def test_files_go_with_the_page_but_not_those_of_another(tmp_path):
    owned, shared = tmp_path / "1" / "own.png", tmp_path / "2" / "shared.png"
    for path in (owned, shared):
        path.parent.mkdir()
        path.touch()
    sessions = Sessions()
    sessions.claim(sessions.of("a"), [str(owned), str(shared)])
    sessions.claim(sessions.of("b"), [str(shared)])
    sessions.close("a")
    assert not owned.exists() and not owned.parent.exists() and shared.exists()
    sessions.close("b")
    assert not shared.exists()


def test_closing_a_page_stops_its_computing():
    sessions = Sessions()
    sessions.of("a").exchanges.append(running := turn("one", b"A", state="running"))
    sessions.close("a")
    assert running.stop.is_set() and sessions.of("a").exchanges == []


TAB, OTHER = "0123456789abcdef" * 2, "f" * 32


def session_with_exchange(sessions: Sessions, page: str, tab: str = TAB) -> Session:
    """The session of a page in a tab, with one exchange."""
    session = sessions.arrived(page, tab)
    session.exchanges.append(turn("one", b"A", state="done"))
    return session


@pytest.mark.parametrize("order", ["closed first", "opened first"])
def test_a_tab_that_is_loaded_again_finds_its_conversation(order):
    ended = []
    sessions = Sessions(ended.append)
    before = session_with_exchange(sessions, "a")
    before.page = 3
    if order == "closed first":
        sessions.close("a")
    assert sessions.of("b").exchanges == []  # not before it has reported its tab
    assert sessions.arrived("b", TAB) is before and sessions.of("b") is before
    assert before.page == 1  # the composer of the new page holds no files
    if order == "opened first":
        sessions.close("a")
    assert sessions.of("b").exchanges and not ended


@pytest.mark.parametrize("tab", [OTHER, "", "x" * 32, "0123456789ABCDEF" * 2, TAB[:16]])
def test_no_other_tab_finds_it(tab):
    sessions = Sessions()
    session_with_exchange(sessions, "a")
    sessions.close("a")
    assert sessions.arrived("b", tab).exchanges == []
    assert sessions.arrived("c", TAB).exchanges


def test_a_lost_connection_that_is_there_again_goes_on():
    sessions = Sessions()
    before = session_with_exchange(sessions, "a")
    sessions.close("a")
    assert sessions.of("a") is before


@pytest.mark.parametrize("asked", [True, False])
def test_a_late_event_of_a_page_that_has_gone_brings_nothing_back_for_good(tmp_path, clock, asked):
    (file := tmp_path / "1" / "own.png").parent.mkdir()
    file.touch()
    ended = []
    sessions = Sessions(ended.append)
    if asked:
        session_with_exchange(sessions, "a")
    else:
        sessions.of("a")
    sessions.close("a")
    sessions.claim(sessions.of("a"), [str(file)])  # sent before the page went
    assert file.exists()
    clock.passes(30)
    assert not file.exists()
    clock.passes(600)
    assert len(ended) == 1 + (not asked) and not sessions.of("b").exchanges


def test_a_page_that_came_back_stays_while_it_is_heard_of_or_waits_for_an_answer(clock):
    sessions = Sessions()
    before = session_with_exchange(sessions, "a")
    sessions.close("a")
    sessions.of("a")
    clock.passes(20)
    sessions.of("a")
    clock.passes(10)
    assert sessions.of("a") is before and not before.closed.is_set()
    sessions.close("a")
    assert sessions.of("a") is before
    before.add(turn("Why?", state="waiting"))
    clock.passes(30)
    assert not before.closed.is_set()
    before.exchanges[-1].state = "done"
    clock.passes(30)
    assert before.closed.is_set()


def test_a_page_that_has_asked_keeps_its_session():
    sessions = Sessions()
    before, current = session_with_exchange(sessions, "a"), session_with_exchange(sessions, "b", OTHER)
    sessions.close("a")
    assert sessions.arrived("b", TAB) is current and current is not before


def test_files_go_at_once_and_what_does_not_come_back_is_forgotten(tmp_path, clock):
    (file := tmp_path / "1" / "own.png").parent.mkdir()
    file.touch()
    ended = []
    sessions = Sessions(ended.append)
    before = session_with_exchange(sessions, "a")
    sessions.claim(before, [str(file)])
    sessions.close("a")
    clock.passes(599)
    assert not file.exists() and before.exchanges and not ended
    clock.passes(1)
    assert ended == [before]
    assert before.exchanges == []
    assert sessions.arrived("b", TAB).exchanges == []


def test_each_time_that_a_page_leaves_counts_anew(clock):
    ended = []
    sessions = Sessions(ended.append)
    before = session_with_exchange(sessions, "a")
    sessions.close("a")
    clock.passes(400)
    assert sessions.of("a") is before
    sessions.close("a")
    clock.passes(400)  # the first time is over, the second is not
    assert not ended
    clock.passes(200)
    assert ended == [before]


def test_of_many_that_wait_the_oldest_goes(monkeypatch):
    monkeypatch.setattr("vlm_demo.ui.sessions.MOST_KEPT", 2)
    ended = []
    sessions = Sessions(ended.append)
    first, *_ = [session_with_exchange(sessions, page, f"{ord(page):032x}") for page in "abc"]
    for page in "abc":
        sessions.close(page)
    assert ended == [first]


def test_what_asked_nothing_is_not_kept():
    ended = []
    sessions = Sessions(ended.append)
    empty = sessions.arrived("a", TAB)
    sessions.close("a")
    assert ended == [empty]


def test_uploads_that_nobody_claimed_are_swept(tmp_path, monkeypatch, clock):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    kept, orphan = (tmp_path / name / "picture.png" for name in ("kept", "orphan"))
    for path in (kept, orphan):
        path.parent.mkdir()
        path.touch()
    sessions = Sessions()
    sessions.claim(sessions.of("a"), [str(kept)])
    clock.passes(10)
    sessions.sweep()
    assert kept.exists() and orphan.exists()
    clock.passes(20)  # what was too young is looked at again
    assert kept.exists() and not orphan.parent.exists()


def test_a_part_of_an_upload_that_broke_off_is_swept(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr("vlm_demo.ui.uploads.GRACE", 0.0)
    (tmp_path / "tmpabc123").write_bytes(b"half a picture")
    Sessions().sweep()
    assert tmp_path.exists() and not list(tmp_path.iterdir())


def test_only_the_cache_that_the_sessions_began_with_is_swept(tmp_path, monkeypatch):
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    earlier = Sessions()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr("vlm_demo.ui.uploads.GRACE", 0.0)
    (tmp_path / "picture.png").touch()
    earlier.sweep()
    assert (tmp_path / "picture.png").exists()
    Sessions().sweep()
    assert not (tmp_path / "picture.png").exists()
