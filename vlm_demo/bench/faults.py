"""Faults: what may go wrong around the app, done to it on purpose, once each → whether it was borne.

A fault is borne where whoever asked hears one sentence or the whole answer, and the next question is answered as if
nothing had been. Each gets an app of its own.
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
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from vlm_demo.bench import process
from vlm_demo.bench.visitors import OpenAiVisitor, VisitorReply, pictures, written
from vlm_demo.errors import VlmDemoError

LOOK = 0.01  # seconds between two looks for a process
SMALL = "24m"  # of the disk that is filled; a page that is read takes 7 of it
SILENT = "5"  # seconds that an engine may send nothing
LONG = "Describe the picture in every detail, and then tell what each shape may stand for."
TRACE = ("Traceback", "Errno", "Error:")  # no part of a sentence for a person


@dataclass(frozen=True)
class Fault:
    """One of them.

    Attributes:
        name: what was done.
        borne: None where it could not be tried here: ``said`` says why.
        said: what whoever asked heard.
        then: what the next question got.
    """

    name: str
    borne: bool | None
    said: str
    then: str = ""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    def line(self) -> str:
        """In a line."""
        verdict = {True: "borne", False: "NOT BORNE", None: "not tried"}[self.borne]
        return f"{self.name:<44}{verdict:<11}{self.said}" + (f" | then: {self.then}" if self.then else "")


class NotHere(VlmDemoError):
    """It can't be tried on this machine."""


def all_faults(model: str) -> Iterator[Fault]:
    """Every one, as it ends."""
    for name, fault in FAULTS.items():
        try:
            yield fault(name, model)
        except NotHere as reason:
            yield Fault(name, None, str(reason))


def _verdict(name: str, heard: VisitorReply, then: VisitorReply) -> Fault:
    """Borne where the first one is an answer or a sentence, and the second an answer."""
    sentence = heard.text.strip()
    clear = heard.status == 200 or (heard.status > 0 and bool(sentence) and not any(part in sentence for part in TRACE))
    return Fault(name, clear and then.status == 200, f"{heard.status}: {sentence}", f"{then.status}: {then.text}")


def _model(address: str) -> str:
    return OpenAiVisitor(address, "").client.get("/v1/models").json()["data"][0]["id"]


class _Asking:
    """A question in a thread of its own; ``begun`` is set at its first word."""

    def __init__(self, visitor: OpenAiVisitor, uri: str) -> None:
        self.begun = threading.Event()
        self._heard: list[VisitorReply] = []
        self._thread = threading.Thread(target=self._ask, args=(visitor, uri))
        self._thread.start()

    def _ask(self, visitor: OpenAiVisitor, uri: str) -> None:
        self._heard.append(visitor.ask(uri, self.begun.set))
        self.begun.set()

    def heard(self) -> VisitorReply:
        """What it got."""
        self._thread.join()
        return self._heard[0]

    @property
    def ended(self) -> bool:
        """Whether it has got it."""
        return not self._thread.is_alive()


def tesseract_killed(name: str, model: str) -> Fault:
    """Its process is killed while it reads; the question asks for the picture's text."""
    page = written("The quick brown fox jumps over the lazy dog. " * 60)
    with process.page("--model", model) as server:
        visitor = OpenAiVisitor(server.address, _model(server.address), ocr=True)
        asking, killed = _Asking(visitor, page), 0
        while not asking.ended and not killed:
            for child in server.children("tesseract"):
                with suppress(psutil.Error):
                    child.kill()
                    killed += 1
            asking.begun.wait(LOOK)
        heard = asking.heard()
        if not killed:
            raise NotHere("Tesseract is not installed, or reads in the app's own process.")
        return _verdict(name, heard, visitor.ask(written("The second page.")))


def disk_full(name: str, model: str) -> Fault:
    """The temporary folder's disk has no byte left, then has again; a question that reads text, and an upload."""
    with ExitStack() as stack:
        folder = stack.enter_context(_small_disk())
        server = stack.enter_context(process.page("--model", model, TMPDIR=str(folder)))
        visitor = OpenAiVisitor(server.address, _model(server.address), ocr=True)
        filling = folder / "full"
        with suppress(OSError), filling.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**12))
        heard = visitor.ask(written("The first page."))
        upload = visitor.client.post("/gradio_api/upload", files={"files": ("a.png", bytes(2**16))})
        filling.unlink()
        told = VisitorReply(heard.status, f"{heard.text} (upload: {upload.status_code})", None, 0.0)
        alive = server.process.poll() is None
        return _verdict(
            name, told, visitor.ask(written("The second page.")) if alive else VisitorReply(0, "", None, 0.0)
        )


@contextmanager
def _small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", folder], capture_output=True, check=False
        )
        if tried.returncode:
            raise NotHere("A small disk can only be mounted by root.")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=False)


def server_dropped(name: str, model: str) -> Fault:
    """A server answers in the model's place; it is killed amid an answer, and then comes back."""
    port = process.free_port()
    with ExitStack() as stack:
        far = process.ServerProcess(_far(model, port), port, {})
        stack.callback(far.end)
        server = stack.enter_context(process.page("--engine", far.address))
        visitor = OpenAiVisitor(server.address, _model(server.address), LONG)
        asking = _Asking(visitor, pictures(1)[0])
        asking.begun.wait()
        far.process.kill()
        heard = asking.heard()
        again = process.ServerProcess(_far(model, port), port, {})
        stack.callback(again.end)
        return _verdict(name, heard, visitor.ask(pictures(2)[1]))


def _far(model: str, port: int) -> list[str]:
    return [str(process.APP), "--model", model, "--port", str(port), "--no-auth"]


def engine_silent(name: str, model: str) -> Fault:
    """A server takes questions and never answers; then whoever asks is gone, and the next one is told too."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        flags = ("--engine", address, "--engine-model", "silent")
        with process.page(*flags, VLM_DEMO_ENGINE_SILENT=SILENT) as server:
            visitor = OpenAiVisitor(server.address, _model(server.address))
            heard, then = visitor.ask(pictures(1)[0]), visitor.ask(pictures(1)[0])
    told = all(reply.status == 503 and f"nothing for {SILENT} s" in reply.text for reply in (heard, then))
    return Fault(name, told, f"{heard.status}: {heard.text}", f"{then.status}: {then.text}")


def replica_killed(name: str, model: str) -> Fault:
    """Two replicas; the one that answers is killed amid the answer. The next question about its picture is answered."""
    if importlib.util.find_spec("ray") is None:
        raise NotHere("Ray is not installed.")
    with process.replicas(2, "--model", model) as server:
        visitor = OpenAiVisitor(server.address, _model(server.address), LONG)
        visitor.ask(pictures(1)[0])
        before = {child.pid: sum(child.cpu_times()[:2]) for child in server.children("ServeReplica:engine")}
        asking = _Asking(visitor, pictures(1)[0])
        asking.begun.wait()
        # The one that computes.
        busiest = max(
            server.children("ServeReplica:engine"),
            key=lambda child: sum(child.cpu_times()[:2]) - before.get(child.pid, 0.0),
        )
        busiest.kill()
        return _verdict(name, asking.heard(), visitor.ask(pictures(1)[0]))


def told_to_end(name: str, model: str) -> Fault:
    """SIGTERM amid an answer: it is written to its end, a new question is refused unless it came in time, and the exit
    status is 0."""
    with process.page("--model", model) as server:
        return _ended(name, server)


def serve_told_to_end(name: str, model: str) -> Fault:
    """The same of `serve`."""
    if importlib.util.find_spec("ray") is None:
        raise NotHere("Ray is not installed.")
    with process.replicas(1, "--model", model) as server:
        return _ended(name, server)


def _ended(name: str, server: process.ServerProcess) -> Fault:
    visitor = OpenAiVisitor(server.address, _model(server.address), LONG)
    alone = visitor.ask(pictures(1)[0])
    asking = _Asking(visitor, pictures(1)[0])
    asking.begun.wait()
    os.kill(server.process.pid, signal.SIGTERM)
    late = OpenAiVisitor(server.address, visitor.model).ask(pictures(2)[1])
    heard, status = asking.heard(), server.end()
    whole = heard.status == 200 and heard.text == alone.text and late.status in (0, 200, 503) and status == 0
    return Fault(name, whole, f"{heard.status}: {heard.text}", f"exit status {status}; a late one got {late.status}")


FAULTS: dict[str, Callable[[str, str], Fault]] = {
    "Tesseract is killed while it reads": tesseract_killed,
    "the disk is full": disk_full,
    "the engine's server dies amid an answer": server_dropped,
    "the engine's server sends nothing": engine_silent,
    "a replica is killed amid an answer": replica_killed,
    "SIGTERM amid an answer": told_to_end,
    "SIGTERM to serve amid an answer": serve_told_to_end,
}
