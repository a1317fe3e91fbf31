"""Faults: failures around the app, each injected once into a fresh app → whether the app survived it.

A fault is survived where the client gets one clear sentence or the whole answer, and its next question is answered as
usual.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from vlm_demo.bench import process
from vlm_demo.bench.visitors import OpenAiVisitor, VisitorReply, pictures, text_page
from vlm_demo.errors import VlmDemoError

POLL_INTERVAL = 0.01  # seconds between two searches for a process
DISK_SIZE = "24m"  # size of the disk that is filled; reading one page takes 7 MB of it
SILENT_SECONDS = "5"  # seconds that an engine may stay silent
LONG_QUESTION = "Describe the picture in every detail, and then tell what each shape may stand for."
TRACEBACK_MARKS = ("Traceback", "Errno", "Error:")  # never part of a sentence for people


@dataclass(frozen=True)
class Fault:
    """The outcome of one fault.

    Attributes:
        name: what was injected.
        survived: None where it could not be tried here: ``reply`` gives the reason.
        reply: the status and text that the client got.
        next_reply: those of its next question.
    """

    name: str
    survived: bool | None
    reply: str
    next_reply: str = ""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"name": self.name, "survived": self.survived, "reply": self.reply, "next_reply": self.next_reply}

    def line(self) -> str:
        """For printing."""
        verdict = {True: "survived", False: "FAILED", None: "not tried"}[self.survived]
        return f"{self.name:<44}{verdict:<11}{self.reply}" + (f" | then: {self.next_reply}" if self.next_reply else "")


class NotPossibleHere(VlmDemoError):
    """The fault can't be injected on this machine."""


def all_faults(model: str) -> Iterator[Fault]:
    """Inject each of `FAULTS`; yields each outcome as it is known."""
    for name, fault in FAULTS.items():
        try:
            yield fault(name, model)
        except NotPossibleHere as reason:
            yield Fault(name, None, str(reason))


def _verdict(name: str, reply: VisitorReply, next_reply: VisitorReply) -> Fault:
    """Survived where the first reply is an answer or a clear sentence, and the next one an answer."""
    sentence = reply.text.strip()
    understandable = reply.status == 200 or (
        reply.status > 0 and bool(sentence) and not any(part in sentence for part in TRACEBACK_MARKS)
    )
    return Fault(
        name,
        understandable and next_reply.status == 200,
        f"{reply.status}: {sentence}",
        f"{next_reply.status}: {next_reply.text}",
    )


def _model(address: str) -> str:
    return OpenAiVisitor(address, "").client.get("/v1/models").json()["data"][0]["id"]


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
    with process.page("--model", model) as server:
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
        return _verdict(name, reply, visitor.ask(text_page("The second page.")))


def disk_full(name: str, model: str) -> Fault:
    """The temporary folder's disk is filled during a question that reads text and an upload, then has room again."""
    with ExitStack() as stack:
        folder = stack.enter_context(_small_disk())
        server = stack.enter_context(process.page("--model", model, TMPDIR=str(folder)))
        visitor = OpenAiVisitor(server.address, _model(server.address), ocr=True)
        filler = folder / "full"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**12))
        reply = visitor.ask(text_page("The first page."))
        upload = visitor.client.post("/gradio_api/upload", files={"files": ("a.png", bytes(2**16))})
        filler.unlink()
        with_upload = VisitorReply(reply.status, f"{reply.text} (upload: {upload.status_code})", None, 0.0)
        alive = server.process.poll() is None
        return _verdict(
            name, with_upload, visitor.ask(text_page("The second page.")) if alive else VisitorReply(0, "", None, 0.0)
        )


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
        remote = process.ServerProcess(_server_arguments(model, port), port, {})
        stack.callback(remote.end)
        server = stack.enter_context(process.page("--engine", remote.address))
        visitor = OpenAiVisitor(server.address, _model(server.address), LONG_QUESTION)
        question = _BackgroundQuestion(visitor, pictures(1)[0])
        question.first_word.wait()
        remote.process.kill()
        reply = question.reply()
        restarted = process.ServerProcess(_server_arguments(model, port), port, {})
        stack.callback(restarted.end)
        return _verdict(name, reply, visitor.ask(pictures(2)[1]))


def _server_arguments(model: str, port: int) -> list[str]:
    return [str(process.APP), "--model", model, "--port", str(port), "--no-auth"]


def engine_silent(name: str, model: str) -> Fault:
    """A server takes questions and never answers; the client gets a sentence, and so does its next question."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        flags = ("--engine", address, "--engine-model", "silent")
        with process.page(*flags, VLM_DEMO_ENGINE_SILENT=SILENT_SECONDS) as server:
            visitor = OpenAiVisitor(server.address, _model(server.address))
            reply, next_reply = visitor.ask(pictures(1)[0]), visitor.ask(pictures(1)[0])
    survived = all(
        each.status == 503 and f"nothing for {SILENT_SECONDS} s" in each.text for each in (reply, next_reply)
    )
    return Fault(name, survived, f"{reply.status}: {reply.text}", f"{next_reply.status}: {next_reply.text}")


def replica_killed(name: str, model: str) -> Fault:
    """Two replicas; the one that answers is killed meanwhile. The next question about its picture is answered."""
    if importlib.util.find_spec("ray") is None:
        raise NotPossibleHere("Ray is not installed.")
    with process.replicas(2, "--model", model) as server:
        visitor = OpenAiVisitor(server.address, _model(server.address), LONG_QUESTION)
        visitor.ask(pictures(1)[0])
        before = {child.pid: sum(child.cpu_times()[:2]) for child in server.children("ServeReplica:engine")}
        question = _BackgroundQuestion(visitor, pictures(1)[0])
        question.first_word.wait()
        # The one that computes the answer.
        busiest = max(
            server.children("ServeReplica:engine"),
            key=lambda child: sum(child.cpu_times()[:2]) - before.get(child.pid, 0.0),
        )
        busiest.kill()
        return _verdict(name, question.reply(), visitor.ask(pictures(1)[0]))


def sigterm(name: str, model: str) -> Fault:
    """SIGTERM during an answer: the answer is completed, a new question is refused unless it came in time, and the
    exit status is 0."""
    with process.page("--model", model) as server:
        return _terminated(name, server)


def serve_sigterm(name: str, model: str) -> Fault:
    """The same for `serve`."""
    if importlib.util.find_spec("ray") is None:
        raise NotPossibleHere("Ray is not installed.")
    with process.replicas(1, "--model", model) as server:
        return _terminated(name, server)


def _terminated(name: str, server: process.ServerProcess) -> Fault:
    visitor = OpenAiVisitor(server.address, _model(server.address), LONG_QUESTION)
    expected = visitor.ask(pictures(1)[0])
    question = _BackgroundQuestion(visitor, pictures(1)[0])
    question.first_word.wait()
    os.kill(server.process.pid, signal.SIGTERM)
    late = OpenAiVisitor(server.address, visitor.model).ask(pictures(2)[1])
    reply, status = question.reply(), server.end()
    survived = reply.status == 200 and reply.text == expected.text and late.status in (0, 200, 503) and status == 0
    return Fault(name, survived, f"{reply.status}: {reply.text}", f"exit status {status}; a late one got {late.status}")


FAULTS: dict[str, Callable[[str, str], Fault]] = {
    "Tesseract is killed while it reads": tesseract_killed,
    "the disk is full": disk_full,
    "the engine's server dies amid an answer": server_dropped,
    "the engine's server sends nothing": engine_silent,
    "a replica is killed amid an answer": replica_killed,
    "SIGTERM amid an answer": sigterm,
    "SIGTERM to serve amid an answer": serve_sigterm,
}
