"""Faults: failures around the app, each injected once into a fresh app → whether the app survived it.

A fault is survived where whoever asked gets the one sentence that belongs to it, the next question is answered as
usual, and two others, who ask all through it, get no wrong answer and no other sentence. After SIGTERM, where the whole
answer comes, and a late question gets 503 meanwhile. An answer that came whole although it should have been hit is a
failure: the fault came too late. The weights are float32, for the reason that `load` gives.
"""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten

import psutil

from vlm_demo.bench import process
from vlm_demo.bench.load import in_float32
from vlm_demo.bench.relay import Relay
from vlm_demo.bench.visitors import (
    RANDOM,
    OpenAiVisitor,
    VisitorReply,
    VisitorResults,
    other_visitors,
    pictures,
    text_page,
)
from vlm_demo.errors import VlmDemoError

POLL_INTERVAL = 0.01  # seconds between two searches for a process
DISK_SIZE = "24m"  # size of the disk that is filled; reading one page takes 7 MB of it
SILENT_SECONDS = "5"  # seconds that an engine may stay silent
LONG_ANSWER = 100  # tokens of an answer that something happens to: seconds
BROKEN = ("broke off in the middle", "No server can be reached", "was lost before an answer came")  # connections
INSUFFICIENT_STORAGE, SERVICE_UNAVAILABLE = 507, 503
AFTERWARDS, PATIENCE = 4, 120.0  # answers that the others get after a fault, and seconds that they have for it
SHOWN = 200  # characters of a reply that are printed
TRACEBACK_MARKS = ("Traceback", "Errno", "Error:")  # never part of a sentence for people


@dataclass(frozen=True)
class Fault:
    """The outcome of one fault.

    Attributes:
        name: what was injected.
        survived: None where it could not be tried here: ``reply`` gives the reason.
        reply: the status and text that the client got.
        next_reply: those of its next question.
        others: what the two others got, in numbers.
    """

    name: str
    survived: bool | None
    reply: str
    next_reply: str = ""
    others: str = ""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    def line(self) -> str:
        """For printing."""
        verdict = {True: "survived", False: "FAILED", None: "not tried"}[self.survived]
        then = f" | then: {shorten(self.next_reply, SHOWN)}" if self.next_reply else ""
        others = f" | others: {self.others}" if self.others else ""
        return f"{self.name:<52}{verdict:<11}{shorten(self.reply, SHOWN)}{then}{others}"


class NotPossibleHere(VlmDemoError):
    """The fault can't be injected on this machine."""


def all_faults(model: str) -> Iterator[Fault]:
    """Inject each of `FAULTS`; yields each outcome as it is known."""
    with in_float32(model) as folder:
        for name, fault in FAULTS.items():
            try:
                yield fault(name, str(folder))
            except NotPossibleHere as reason:
                yield Fault(name, None, str(reason))


def _verdict(
    name: str, reply: VisitorReply, next_reply: VisitorReply, own: Sequence[str], results: VisitorResults
) -> Fault:
    """Whether it was survived.

    Args:
        reply: of the question that the fault hit.
        next_reply: of the next one.
        own: parts of the sentences that belong to this fault.
        results: what the two others got.
    """
    problems = [*results.refusals, *results.errors]
    strange = [problem for problem in problems if not _is_own(problem, own)]
    others = f"{len(results.replies)} answers, {len(results.wrong)} wrong, {len(problems)} times a sentence"
    others += f", of these not of this fault {len(strange)}: {strange[0]}" if strange else ""
    told = reply.status not in (0, 200) and _is_own(reply.text, own)
    nobody_else = bool(results.replies) and not results.wrong and not strange
    return Fault(
        name,
        told and next_reply.status == 200 and nobody_else,
        f"{reply.status}: {reply.text.strip()}",
        f"{next_reply.status}: {next_reply.text}",
        others,
    )


def _is_own(sentence: str, own: Sequence[str]) -> bool:
    return any(part in sentence for part in own) and not any(mark in sentence for mark in TRACEBACK_MARKS)


def _model(address: str) -> str:
    return OpenAiVisitor(address, "").client.get("/v1/models").json()["data"][0]["id"]


@contextmanager
def _others(server: process.ServerProcess) -> Iterator[VisitorResults]:
    """Two others who ask all through the block, and until they have got answers after it."""
    with other_visitors(server.address, _model(server.address)) as results:
        yield results
        wanted, deadline = len(results.replies) + AFTERWARDS, time.monotonic() + PATIENCE
        while len(results.replies) < wanted and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL)
        if len(results.replies) < wanted:
            results.errors.append(f"Fewer than {AFTERWARDS} answers came within {PATIENCE:.0f} s after it.")


def _long_question(server: process.ServerProcess) -> _BackgroundQuestion:
    """A question with a long answer, whose first word has come."""
    visitor = OpenAiVisitor(server.address, _model(server.address), temperature=RANDOM, max_tokens=LONG_ANSWER)
    question = _BackgroundQuestion(visitor, pictures(1)[0])
    question.first_word.wait()
    return question


class _BackgroundQuestion:
    """A question asked in a separate thread; ``first_word`` is set at its first word, or at its end."""

    def __init__(self, visitor: OpenAiVisitor, uri: str) -> None:
        self.first_word = threading.Event()
        self._replies: list[VisitorReply] = []
        self._thread = threading.Thread(target=self._ask, args=(visitor, uri))
        self._thread.start()

    def _ask(self, visitor: OpenAiVisitor, uri: str) -> None:
        self._replies.append(visitor.ask(uri, self.first_word.set))
        self.first_word.set()

    def reply(self) -> VisitorReply:
        """Wait for the reply."""
        self._thread.join()
        return self._replies[0]

    @property
    def done(self) -> bool:
        """Whether the reply is there."""
        return not self._thread.is_alive()


def tesseract_killed(name: str, model: str) -> Fault:
    """Tesseract's process is killed while it reads; the question asks for the picture's text."""
    page = text_page("The quick brown fox jumps over the lazy dog. " * 60)
    with process.page("--model", model) as server, _others(server) as results:
        visitor = OpenAiVisitor(server.address, _model(server.address), ocr=True)
        question, killed = _BackgroundQuestion(visitor, page), 0
        while not question.done and not killed:
            for child in server.children("tesseract"):
                with suppress(psutil.Error):
                    child.kill()
                    killed += 1
            question.first_word.wait(POLL_INTERVAL)
        reply = question.reply()
        if not killed:
            raise NotPossibleHere("Tesseract is not installed, or reads in the app's own process.")
        next_reply = visitor.ask(text_page("The second page."))
    return _verdict(name, reply, next_reply, ("Tesseract cannot read",), results)


def disk_full(name: str, model: str) -> Fault:
    """The temporary folder's disk is filled during a question that reads text and an upload, then has room again."""
    with ExitStack() as stack:
        folder = stack.enter_context(_small_disk())
        server = stack.enter_context(process.page("--model", model, TMPDIR=str(folder)))
        results = stack.enter_context(_others(server))
        visitor = OpenAiVisitor(server.address, _model(server.address), ocr=True)
        filler = folder / "full"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**12))
        reply = visitor.ask(text_page("The first page."))
        upload = visitor.client.post("/gradio_api/upload", files={"files": ("a.png", bytes(2**16))})
        filler.unlink()
        next_reply = visitor.ask(text_page("The second page."))
    if upload.status_code != INSUFFICIENT_STORAGE:
        return Fault(name, False, f"{reply.status}: {reply.text}; an upload got {upload.status_code}")
    return _verdict(name, reply, next_reply, ("free some space",), results)


@contextmanager
def _small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", folder], capture_output=True, check=False
        )
        if mounted.returncode:
            raise NotPossibleHere("A small disk can only be mounted by root.")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=False)


def server_dropped(name: str, model: str) -> Fault:
    """A server answers in the model's place; it is killed during an answer, then restarted."""
    port = process.free_port()
    with ExitStack() as stack:
        remote = stack.enter_context(process.page("--model", model, port=port))
        server = stack.enter_context(process.page("--engine", remote.address))
        with _others(server) as results:
            question = _long_question(server)
            remote.process.kill()
            reply = question.reply()
            stack.enter_context(process.page("--model", model, port=port))
            next_reply = OpenAiVisitor(server.address, _model(server.address)).ask(pictures(2)[1])
    return _verdict(name, reply, next_reply, BROKEN, results)


def network_silent(name: str, model: str) -> Fault:
    """The network to the engine's server carries nothing during an answer and a question more, and then again."""
    return _through_relay(name, model, Relay.silence, (f"has sent nothing for {SILENT_SECONDS} s",))


def network_cut(name: str, model: str) -> Fault:
    """The network to the engine's server breaks during an answer, and is there again after one question more."""
    return _through_relay(name, model, Relay.cut, BROKEN)


def _through_relay(name: str, model: str, harm: Callable[[Relay], None], own: Sequence[str]) -> Fault:
    with ExitStack() as stack:
        remote = stack.enter_context(process.page("--model", model))
        relay = Relay(remote.port)
        address = f"http://127.0.0.1:{relay.port}"
        server = stack.enter_context(process.page("--engine", address, VLM_DEMO_ENGINE_SILENT=SILENT_SECONDS))
        results = stack.enter_context(_others(server))
        visitor = OpenAiVisitor(server.address, _model(server.address))
        question = _long_question(server)
        harm(relay)
        reply, meanwhile = question.reply(), visitor.ask(pictures(2)[1])
        relay.restore()
        next_reply = visitor.ask(pictures(2)[1])
    if meanwhile.status != SERVICE_UNAVAILABLE or not _is_own(meanwhile.text, own):
        return Fault(name, False, f"{reply.status}: {reply.text}", f"{meanwhile.status}: {meanwhile.text}")
    return _verdict(name, reply, next_reply, own, results)


def replica_killed(name: str, model: str) -> Fault:
    """Two replicas; the one that answers is killed meanwhile. The next question about its picture is answered."""
    if importlib.util.find_spec("ray") is None:
        raise NotPossibleHere("Ray is not installed.")
    with process.replicas(2, "--model", model) as server:
        before = {child.pid: sum(child.cpu_times()[:2]) for child in server.children("ServeReplica:engine")}
        _long_question(server).reply()
        # The one that computes the answers about this picture.
        busiest = max(
            server.children("ServeReplica:engine"),
            key=lambda child: sum(child.cpu_times()[:2]) - before.get(child.pid, 0.0),
        )
        with _others(server) as results:
            question = _long_question(server)
            busiest.kill()
            reply = question.reply()
            next_reply = OpenAiVisitor(server.address, _model(server.address)).ask(pictures(1)[0])
    return _verdict(name, reply, next_reply, ("The replica that answered has died",), results)


def sigterm(name: str, model: str) -> Fault:
    """SIGTERM during an answer: the answer is completed, a late question is refused, and the exit status is 0."""
    with process.page("--model", model) as server:
        return _terminated(name, server)


def serve_sigterm(name: str, model: str) -> Fault:
    """The same for `serve`."""
    if importlib.util.find_spec("ray") is None:
        raise NotPossibleHere("Ray is not installed.")
    with process.replicas(1, "--model", model) as server:
        return _terminated(name, server)


def _terminated(name: str, server: process.ServerProcess) -> Fault:
    expected = _long_question(server).reply()
    late_visitor = OpenAiVisitor(server.address, _model(server.address), max_tokens=1)
    question = _long_question(server)
    server.process.send_signal(signal.SIGTERM)
    late, meanwhile = late_visitor.ask(pictures(2)[1]), not question.done
    while late.status == 200 and meanwhile:  # it came before the signal was handled
        late, meanwhile = late_visitor.ask(pictures(2)[1]), not question.done
    reply, status = question.reply(), server.end()
    whole = reply.status == 200 and reply.text == expected.text
    survived = whole and late.status == SERVICE_UNAVAILABLE and meanwhile and status == 0
    when = "meanwhile" if meanwhile else "after the answer"
    return Fault(
        name,
        survived,
        f"{reply.status}: {reply.text}" + ("" if whole else f" (expected: {expected.text})"),
        f"exit status {status}; a late one got, {when}, {late.status}: {late.text}",
    )


FAULTS: dict[str, Callable[[str, str], Fault]] = {
    "Tesseract is killed while it reads": tesseract_killed,
    "the disk is full": disk_full,
    "the engine's server dies amid an answer": server_dropped,
    "the engine's network falls silent amid an answer": network_silent,
    "the engine's network breaks amid an answer": network_cut,
    "a replica is killed amid an answer": replica_killed,
    "SIGTERM amid an answer": sigterm,
    "SIGTERM to serve amid an answer": serve_sigterm,
}
