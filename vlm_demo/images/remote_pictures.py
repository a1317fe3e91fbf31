"""Remote pictures: an address on the web → a file's bytes, from hosts that were allowed and no other.

Whoever names an address makes this machine ask for it, which may stand where the person does not. So nothing is fetched
unless a host was allowed, and then never from this machine's own network (https://cwe.mitre.org/data/definitions/918):
its name is resolved once, every address must be public, and that very one is connected to.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from vlm_demo.errors import BadImage, BadSetting

ALLOW = "--allow-image-host"
ALLOW_HELP = "hosts on the web from which pictures that are named by an address may be fetched; none otherwise"
# As a Path writes it too, which takes one of two slashes away.
ADDRESS = re.compile(r"\s*(?:https?|ftp):/", re.IGNORECASE)
LOST_SLASH = re.compile(r"^(\w+:/)(?!/)")
HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", re.IGNORECASE)
PORTS = {"http": 80, "https": 443}
MAX_BYTES = 64 * 2**20
SECONDS = 20.0  # for connecting, the head and the picture together
CHUNK = 2**16
NAT64 = IPv6Network("64:ff9b::/96")  # IPv4 in its last four bytes

Resolve = Callable[[str, int], list[str]]
Connect = Callable[[str, int, float], socket.socket]


def is_address(source: Any) -> bool:
    """Whether a source names a picture on the web."""
    return isinstance(source, str | os.PathLike) and bool(ADDRESS.match(str(source)))


class RemotePictures:
    """What may be fetched, and the fetching. Called with any source of a picture, it gives the bytes that an address
    stands for, and anything else as it is."""

    def __init__(
        self,
        hosts: Iterable[str] = (),
        *,
        max_bytes: int = MAX_BYTES,
        seconds: float = SECONDS,
        resolve: Resolve | None = None,
        connect: Connect | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Allow ``hosts``, by their exact names; see `hosts_of` for a list in one text.

        Args:
            max_bytes: the largest picture.
            seconds: the longest that one may take.
            resolve: a host's name and port → its IP addresses; None = as the system does.
            connect: IP address, port and seconds → a connected socket; None = as the system does.
            context: checks certificates; None = against the system's authorities.
        Raises:
            BadSetting: that is no host's name.
        """
        self.hosts = frozenset(_checked(host) for host in ((hosts,) if isinstance(hosts, str) else hosts))
        self.max_bytes, self.seconds = max_bytes, seconds
        self._resolve, self._connect, self._context = resolve or _resolved, connect or _connected, context

    def __call__(self, source: Any) -> Any:
        """A picture's source with nothing on the web in it any more.

        Raises:
            BadImage: see `fetch`.
        """
        return self.fetch(str(source)) if is_address(source) else source

    def fetch(self, address: str) -> bytes:
        """The file at an address.

        Raises:
            BadImage: the host is not allowed or not public, the address redirects, or what comes is too large or too
                slow; says which, and what to do.
        """
        parts, host, port = self._read(address)
        if host not in self.hosts:
            raise BadImage(
                f"The picture on {_short(host)} is not fetched: download it and name the file, or allow that host with "
                f"{ALLOW}."
            )
        deadline = time.monotonic() + self.seconds
        try:
            found = [ip_address(text.partition("%")[0]) for text in self._resolve(host, port)]
        except (OSError, ValueError, UnicodeError) as error:
            raise BadImage(f"There is no host {_short(host)}: check the address of the picture.") from error
        if not found or not all(_is_public(address) for address in found):
            raise BadImage(
                f"{_short(host)} is in a private network, from which no pictures are fetched: download it and name "
                "the file."
            )
        sockets = _TimedSockets(deadline)
        try:
            return self._received(self._socket(parts.scheme, host, port, found, sockets), parts, host, sockets)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._failed(host, error, sockets.late) from error
        finally:
            sockets.close()

    def _read(self, address: str) -> tuple[SplitResult, str, int]:
        """The parts of an address, its host and its port."""
        try:
            parts = urlsplit(LOST_SLASH.sub(r"\1/", address.strip()))
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError as error:
            raise BadImage("The address of the picture is damaged: check it, or download the picture.") from error
        if parts.scheme not in PORTS or not host or parts.username or parts.password:
            raise BadImage(
                "The address of the picture is none that can be fetched: it has the form https://HOST/PATH, without a "
                "name or a password."
            )
        if port not in (None, PORTS[parts.scheme]):
            raise BadImage(f"The address of the picture names the port {port}: only the usual ones are asked.")
        return parts, host, PORTS[parts.scheme]

    def _socket(
        self, scheme: str, host: str, port: int, found: list[IPv4Address | IPv6Address], sockets: _TimedSockets
    ) -> socket.socket:
        """A socket connected to the first of the addresses that answers, its certificate checked."""
        failed: Exception = TimeoutError()
        for address in found:
            try:
                connected = sockets.add(self._connect(str(address), port, sockets.left))
                if scheme == "http":
                    return connected
                context = self._context or ssl.create_default_context()
                secured = context.wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False)
                sockets.add(secured)
                secured.do_handshake()
                return secured
            except (OSError, ValueError) as error:  # a certificate's error is one of the first
                failed = error
        raise failed

    def _received(self, connected: socket.socket, parts: SplitResult, host: str, sockets: _TimedSockets) -> bytes:
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
        connection = _Connection(host, connected)
        connection.request("GET", path + query, headers={"Accept": "image/*", "Accept-Encoding": "identity"})
        with connection.getresponse() as response:
            if response.status in range(300, 400):
                raise BadImage(
                    f"{_short(host)} sends on to another address, which is not followed: give the address of the "
                    "picture itself."
                )
            if response.status != http.client.OK:
                raise BadImage(
                    f"{_short(host)} does not give this picture (status {response.status}): check its address."
                )
            if (response.length or 0) > self.max_bytes:
                raise self._too_large(host)
            content = bytearray()
            while chunk := response.read1(CHUNK):
                content += chunk
                if len(content) > self.max_bytes:
                    raise self._too_large(host)
            if response.length or sockets.late:  # the other side ended, or the deadline passed
                raise http.client.IncompleteRead(b"")
            return bytes(content)

    def _too_large(self, host: str) -> BadImage:
        return BadImage(
            f"The picture on {_short(host)} is larger than {self.max_bytes / 2**20:.0f} MB: download it, shrink it and "
            "name the file."
        )

    def _failed(self, host: str, error: Exception, late: bool) -> BadImage:
        if isinstance(error, ssl.SSLCertVerificationError):
            return BadImage(f"The certificate of {_short(host)} is not valid: download the picture and name the file.")
        if late or isinstance(error, TimeoutError):
            return BadImage(
                f"{_short(host)} did not give the picture within {self.seconds:.0f} seconds: download it and name the "
                "file."
            )
        return BadImage(f"{_short(host)} can't be reached: try again later, or download the picture and name the file.")


class _Connection(http.client.HTTPConnection):
    """Speaks HTTP on a socket that is connected already."""

    def __init__(self, host: str, connected: socket.socket) -> None:
        super().__init__(host)
        self.sock = connected

    def connect(self) -> None:
        """Refused: it would resolve the name once more."""
        raise OSError


class _TimedSockets:
    """Sockets that are shut down at a deadline: a socket's timeout is for each read, so a slow server could go on."""

    def __init__(self, deadline: float) -> None:
        self._deadline, self._sockets = deadline, list[socket.socket]()
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._cut)
        self._timer.daemon = True
        self._timer.start()

    @property
    def late(self) -> bool:
        return time.monotonic() >= self._deadline

    @property
    def left(self) -> float:
        """Seconds, for a step that must have some."""
        return max(0.001, self._deadline - time.monotonic())

    def add(self, connected: socket.socket) -> socket.socket:
        connected.settimeout(self.left)
        self._sockets.append(connected)
        return connected

    def _cut(self) -> None:
        for connected in self._sockets:
            with suppress(OSError):  # it has ended by itself, or goes on under TLS
                connected.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._timer.cancel()
        for connected in self._sockets:
            connected.close()


def hosts_of(text: str) -> tuple[str, ...]:
    """Hosts that are listed in one text with commas between them.

    Raises:
        BadSetting: one is no host's name.
    """
    return tuple(_checked(host) for host in text.split(",") if host.strip())


def _checked(host: str) -> str:
    name = host.strip().rstrip(".").lower()
    if not HOST.fullmatch(name):
        raise BadSetting(f"{ALLOW} takes the names of hosts, such as images.example.org: {_short(host)!r} is none.")
    return name


def _is_public(found: IPv4Address | IPv6Address) -> bool:
    """Whether it lies outside every private, loopback, link-local and reserved network, as an IPv6 form too."""
    if isinstance(found, IPv6Address):
        inside = found.ipv4_mapped or found.sixtofour
        if found in NAT64:
            inside = IPv4Address(found.packed[-4:])
        if inside is not None:
            return _is_public(inside)
    return found.is_global and not found.is_multicast


def _resolved(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _connected(address: str, port: int, seconds: float) -> socket.socket:
    return socket.create_connection((address, port), seconds)


def _short(host: str) -> str:
    return host if len(host) <= 100 else f"{host[:100]}…"


NOTHING = RemotePictures()
