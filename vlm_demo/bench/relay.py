"""Relay: a port of this machine that passes everything on to another, until its network falls silent or breaks."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

HOST = "127.0.0.1"
CHUNK = 2**16  # bytes
POLL_INTERVAL = 0.1  # seconds between two checks whether it still listens


class Relay:
    """The network between a client, which connects to ``port``, and the server at another port."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._passes = threading.Event()
        self._passes.set()
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._listen()

    def silence(self) -> None:
        """From now on nothing arrives on either side; connections stay open, and new ones can be made."""
        self._passes.clear()

    def cut(self) -> None:
        """Close all connections, and refuse new ones."""
        with suppress(OSError):  # not every system shuts down what listens; closed, it ends at the next check
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._passes.set()  # what waits shall notice
        for end in self._ends:
            with suppress(OSError):  # closed before
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def restore(self) -> None:
        """Pass everything on again, what was held back first."""
        if self._listener.fileno() < 0:
            self._listener = socket.create_server((HOST, self.port))
            self._listen()
        self._passes.set()

    def _listen(self) -> None:
        self._listener.settimeout(POLL_INTERVAL)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:  # closed
                return
            try:
                server = socket.create_connection((HOST, self._server_port))
            except OSError:  # it is not there
                client.close()
                continue
            self._ends += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        """What comes from one side, to the other, its end too."""
        with suppress(OSError):  # cut
            while True:
                data = source.recv(CHUNK)
                self._passes.wait()
                if not data:
                    break
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
