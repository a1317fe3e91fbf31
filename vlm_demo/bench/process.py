"""Process: a server of this package, started as a user starts it, reached over its port, and terminated."""

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
START_TIMEOUT = 600.0  # seconds to become ready
MIB = 2**20


def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerProcess:
    """A process that prints ``Ready:`` when it answers; its output is in ``lines``."""

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
        if not self._ready.wait(START_TIMEOUT) or self.process.poll() is not None:
            self.end()
            output = " ".join(self.lines[-3:])
            raise VlmDemoError(f"The server that was to be measured did not start: {output}")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("Ready:"):
                self._ready.set()
        self._ready.set()

    def children(self, name: str = "") -> list[psutil.Process]:
        """Its child processes whose command line contains ``name``."""
        found = []
        with suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if name in " ".join(child.cmdline()):
                        found.append(child)
        return found

    def memory(self) -> float:
        """MiB of resident memory, without its child processes."""
        return psutil.Process(self.process.pid).memory_info().rss / MIB

    def cpu(self) -> float:
        """Seconds of processor time of it and its child processes."""
        total = 0.0
        for process in (psutil.Process(self.process.pid), *self.children()):
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def end(self, sent_signal: signal.Signals = signal.SIGTERM, timeout: float = 90.0) -> int | None:
        """Terminate it; returns its exit status, None where it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(sent_signal)
        try:
            return self.process.wait(timeout)
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
