"""A fault counts as survived only where it happened, and where nobody got anything but an answer or its sentence."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.kit.fake_engine import FakeEngine
from tests.kit.served_page import served_page
from vlm_demo import app
from vlm_demo.bench import faults
from vlm_demo.bench.faults import Fault
from vlm_demo.bench.visitors import VisitorReply, VisitorResults
from vlm_demo.contracts.engine import Event, Request
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.engines.scheduler import SHUTTING_DOWN

OWN = ("The disk is full",)
TOLD, ANSWER = VisitorReply(503, "The disk is full: free some space.", None, 1), VisitorReply(200, "yes", None, 1)
WORDS = 30  # of an answer that something happens to


def results(*replies: VisitorReply, expected: str = "yes") -> VisitorResults:
    """What two others got, at least one answer among it."""
    received = VisitorResults()
    for reply in (ANSWER, *replies):
        received.add(reply, "yes" if reply is ANSWER else expected)
    return received


@pytest.mark.parametrize(
    ("reply", "next_reply", "others", "survived"),
    [
        (TOLD, ANSWER, results(), True),
        (TOLD, ANSWER, results(TOLD, VisitorReply(500, TOLD.text, None, 1)), True),
        (ANSWER, ANSWER, results(), False),  # it came too late
        (VisitorReply(503, "Something else is wrong.", None, 1), ANSWER, results(), False),
        (VisitorReply(0, "The disk is full", None, 1), ANSWER, results(), False),  # the connection broke
        (VisitorReply(503, "The disk is full: OSError: [Errno 28]", None, 1), ANSWER, results(), False),
        (TOLD, VisitorReply(500, "Broken.", None, 1), results(), False),
        (TOLD, ANSWER, VisitorResults(), False),  # nobody else was answered
        (TOLD, ANSWER, results(VisitorReply(200, "no", None, 1)), False),
        (TOLD, ANSWER, results(VisitorReply(503, "Broken.", None, 1)), False),
        (TOLD, ANSWER, results(VisitorReply(0, "ReadError", None, 1)), False),
    ],
)
def test_a_fault_is_survived_with_its_own_sentence_and_no_harm_to_others(
    reply: VisitorReply, next_reply: VisitorReply, others: VisitorResults, survived: bool
) -> None:
    fault = faults._verdict("x", reply, next_reply, OWN, others)
    assert fault.survived is survived
    assert list(fault.as_dict()) == ["name", "survived", "reply", "next_reply", "others"]


def test_what_the_others_got_is_told() -> None:
    others = results(TOLD, VisitorReply(200, "no", None, 1), VisitorReply(500, "Broken.", None, 1))
    fault = faults._verdict("x", TOLD, ANSWER, OWN, others)
    assert fault.others == "2 answers, 1 wrong, 2 times a sentence, of these not of this fault 1: 500: Broken."
    assert fault.others in fault.line() and "FAILED" in fault.line()


@pytest.mark.parametrize(("patience", "problems"), [(60.0, 0), (0.0, 1)])
def test_others_have_to_be_answered_after_a_fault(
    monkeypatch: pytest.MonkeyPatch, patience: float, problems: int
) -> None:
    monkeypatch.setattr(faults, "PATIENCE", patience)
    engine = FakeEngine(pause=0.05)
    with served_page(ModelRegistry(engine, lambda *_: engine, "llava")) as (_, url):
        with faults._others(Server(url, lambda: None, 0)) as received:  # type: ignore[arg-type]
            before = len(received.replies)
        assert len(received.errors) == problems and not received.wrong
        assert problems or len(received.replies) >= before + faults.AFTERWARDS


class Process:
    """A server's process, of which a signal calls a function in a thread of its own."""

    def __init__(self, at_signal: Callable[[], object]) -> None:
        self.thread = threading.Thread(target=at_signal)

    def send_signal(self, sent: signal.Signals) -> None:
        assert sent == signal.SIGTERM
        self.thread.start()


class Server:
    """What `_terminated` uses of a `ServerProcess`."""

    def __init__(self, address: str, at_signal: Callable[[], object], status: int) -> None:
        self.address, self.process, self.status = address, Process(at_signal), status

    def end(self) -> int:
        self.process.thread.join()
        return self.status


class Changing(FakeEngine):
    """Answers the same question otherwise each time."""

    def stream(self, request: Request) -> Iterator[Event]:
        self.requests.append({})
        words = " ".join([f"word{len(self.requests)}"] * WORDS)
        yield from FakeEngine(pause=self.pause, answer=words).stream(request)


@contextmanager
def terminated(at_signal: str, engine: FakeEngine | None = None, status: int = 0) -> Iterator[Fault]:
    """The outcome of a signal at which the page drains, ends at once, or does nothing."""
    service = ModelRegistry(engine or FakeEngine(pause=0.05, answer="word " * WORDS), lambda *_: FakeEngine(), "llava")
    with served_page(service) as (page, url):
        actions = {
            "drains": lambda: app.drain(page, service),
            "ends": lambda: page.close(verbose=False),
            "goes on": lambda: None,
        }
        yield faults._terminated("x", Server(url, actions[at_signal], status))  # type: ignore[arg-type]


def test_after_a_signal_the_answer_is_whole_and_a_late_question_refused_meanwhile() -> None:
    with terminated("drains") as fault:
        assert fault.survived, fault
        assert f"meanwhile, 503: {SHUTTING_DOWN}" in fault.next_reply


@pytest.mark.parametrize("at_signal", ["ends", "goes on"])
def test_a_refused_connection_or_an_answer_does_not_tell_that_a_server_ends(at_signal: str) -> None:
    with terminated(at_signal) as fault:
        assert fault.survived is False, fault


def test_another_answer_or_exit_status_is_not_survived() -> None:
    with terminated("drains", Changing(pause=0.05)) as fault:
        assert fault.survived is False and "expected: word1" in fault.reply
    with terminated("drains", status=1) as fault:
        assert fault.survived is False and "exit status 1" in fault.next_reply


def test_what_cannot_be_tried_here_is_told_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def as_it_is(model: str) -> Iterator[str]:
        yield model

    def impossible(name: str, model: str) -> Fault:
        raise faults.NotPossibleHere("Only by root.")

    monkeypatch.setattr(faults, "in_float32", as_it_is)
    monkeypatch.setattr(faults, "FAULTS", {"one": impossible, "two": lambda name, model: Fault(name, True, model)})
    assert list(faults.all_faults("llava")) == [Fault("one", None, "Only by root."), Fault("two", True, "llava")]
