"""Process: a server of this package, started as a person starts it, asked over its port, and ended again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from vlm_demo.errors import VlmDemoError

APP = Path(__file__).parents[2] / "app.py"
STARTING = 600.0  # seconds until it has to be ready
MIB = 2**20


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


class ServerProcess:
    """A process that says ``Ready:`` when it answers; what it prints is in ``lines``."""

    def __init__(self, arguments: Sequence[str], port: int, environment: dict[str, str]) -> None:
        self.address, self.port = f"http://127.0.0.1:{port}", port
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self._ready.wait(STARTING) or self.process.poll() is not None:
            self.end()
            said = " ".join(self.lines[-3:])
            raise VlmDemoError(f"The server that was to be measured did not start: {said}")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("Ready:"):
                self._ready.set()
        self._ready.set()

    def children(self, name: str = "") -> list[psutil.Process]:
        """Its processes whose command line holds ``name``."""
        found = []
        with suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if name in " ".join(child.cmdline()):
                        found.append(child)
        return found

    def memory(self) -> float:
        """MiB of resident memory, its own."""
        return psutil.Process(self.process.pid).memory_info().rss / MIB

    def cpu(self) -> float:
        """Seconds of processor time that it and its processes took."""
        total = 0.0
        for process in (psutil.Process(self.process.pid), *self.children()):
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def end(self, how: signal.Signals = signal.SIGTERM, patience: float = 90.0) -> int | None:
        """End it; returns its exit status, None where it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            for process in (*self.children(), self.process):
                with suppress(psutil.Error, OSError):
                    process.kill()
            self.process.wait()
            return None


@contextmanager
def page(*flags: str, port: int | None = None, **environment: str) -> Iterator[ServerProcess]:
    """The app, until the block ends."""
    port = port or free_port()
    arguments = [str(APP), "--host", "127.0.0.1", "--port", str(port), "--no-auth", *flags]
    server = ServerProcess(arguments, port, environment)
    try:
        yield server
    finally:
        server.end()


@contextmanager
def replicas(count: int, *flags: str) -> Iterator[ServerProcess]:
    """`python -m vlm_demo serve`, until the block ends."""
    port = free_port()
    server = ServerProcess(["-m", "vlm_demo", "serve", "--replicas", str(count), "--port", str(port), *flags], port, {})
    try:
        yield server
    finally:
        server.end()
