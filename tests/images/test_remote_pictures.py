"""Pictures on the web: only from hosts that are allowed, never from this machine's own network, within limits."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.kit.certificate import CERTIFICATE, KEY
from vlm_demo.errors import BadImage, BadSetting
from vlm_demo.images.open import open_image
from vlm_demo.images.remote_pictures import NOTHING, RemotePictures, hosts_of, is_address

HOST, PUBLIC = "images.example.org", "93.184.215.14"
CONTENT = bytes(range(256)) * 40


class Server(BaseHTTPRequestHandler):
    """Gives what the path asks for, and writes down what it was asked."""

    asked: ClassVar[list[tuple[str, str | None]]] = []
    over: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Host")))
        kind = self.path.strip("/").partition("?")[0]
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", "/picture")
            self.end_headers()
        elif kind == "gone":
            self.send_error(404)
        elif kind == "head-in-drops":
            self._drop(b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 10**5)
        else:
            self.send_response(200)
            if kind in ("picture", "short"):
                self.send_header("Content-Length", str(len(CONTENT) + (kind == "short")))
            if kind == "says-large":
                self.send_header("Content-Length", "99999999999")
            self.end_headers()
            if kind == "in-drops":
                self._drop(CONTENT * 100)
            elif kind != "says-large":
                self.wfile.write(CONTENT)

    def _drop(self, content: bytes) -> None:
        for byte in content:
            if self.over.wait(0.02):
                return
            try:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
            except OSError:
                return

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module", params=["http", "https"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A server on this machine: the scheme and the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    if request.param == "https":
        folder = tmp_path_factory.mktemp("certificate")
        for name, text in (("cert", CERTIFICATE), ("key", KEY)):
            (folder / name).write_text(text)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert", folder / "key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    Server.over.clear()
    yield request.param, server.server_port
    Server.over.set()
    server.shutdown()
    server.server_close()


class Web:
    """Names, addresses and a network that are made up: whatever is connected to is the server on this machine."""

    def __init__(self, port: int, *addresses: str) -> None:
        self.port, self.addresses = port, list(addresses or (PUBLIC,))
        self.resolved: list[tuple[str, int]] = []
        self.connected: list[tuple[str, int]] = []

    def resolve(self, host: str, port: int) -> list[str]:
        self.resolved.append((host, port))
        return self.addresses

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        self.connected.append((address, port))
        return socket.create_connection(("127.0.0.1", self.port), seconds)


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=CERTIFICATE)


def pictures(web: Web, *hosts: str, **limits: float) -> RemotePictures:
    made = {"resolve": web.resolve, "connect": web.connect, "context": trusting()} | limits
    return RemotePictures(hosts or (HOST,), **made)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(BadImage) as caught:
        call()
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    return message


class TestAllowed:
    def test_its_bytes_come_from_the_address_that_was_resolved_once(self, served: tuple[str, int]) -> None:
        scheme, port = served
        web = Web(port)
        Server.asked.clear()
        assert pictures(web).fetch(f"{scheme}://{HOST}/picture?size=a%20b") == CONTENT
        usual = {"http": 80, "https": 443}[scheme]
        assert web.resolved == [(HOST, usual)] and web.connected == [(PUBLIC, usual)]
        assert Server.asked == [("/picture?size=a%20b", HOST)]

    @pytest.mark.parametrize("address", ["//IMAGES.Example.org/picture", "//images.example.org./picture"])
    def test_however_it_is_written(self, served: tuple[str, int], address: str) -> None:
        assert pictures(Web(served[1])).fetch(f" {served[0]}:{address} ") == CONTENT

    def test_a_length_that_is_not_sent(self, served: tuple[str, int]) -> None:
        assert pictures(Web(served[1])).fetch(f"{served[0]}://{HOST}/untold") == CONTENT

    def test_other_sources_are_left_alone(self) -> None:
        for source in ("a.png", b"http://x", Path("folder/a.png"), None):
            assert NOTHING(source) is source


class TestRefused:
    @pytest.mark.parametrize(
        "host", ["evil.example.com", f"sub.{HOST}", f"{HOST}.evil.com", "127.0.0.1", "[::1]", "2130706433", "localhost"]
    )
    def test_hosts_that_are_not_allowed(self, host: str) -> None:
        web = Web(1)
        message = refused(lambda: pictures(web).fetch(f"https://{host}/picture"))
        assert "download" in message and "--allow-image-host" in message
        assert not web.resolved and not web.connected

    def test_by_default_all_of_them(self) -> None:
        assert f"The picture on {HOST} is not fetched" in refused(lambda: NOTHING(f"https://{HOST}/a.png"))

    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.169.254",
            "100.64.0.1", "198.18.0.1", "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
            "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
            "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("first", [(), (PUBLIC,)], ids=["alone", "behind a public one"])
    def test_hosts_with_an_address_that_is_not_public(self, address: str, first: tuple[str, ...]) -> None:
        web = Web(1, *first, address)
        assert "private network" in refused(lambda: pictures(web).fetch(f"http://{HOST}/picture"))
        assert not web.connected

    def test_public_ones_of_the_newer_kind_are_not(self, served: tuple[str, int]) -> None:
        web = Web(served[1], "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
        assert pictures(web).fetch(f"{served[0]}://{HOST}/picture") == CONTENT

    def test_a_name_that_is_resolved_to_another_address_the_second_time(self, served: tuple[str, int]) -> None:
        """There is no second time (DNS rebinding)."""
        web = Web(served[1])
        later = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
        web.resolve = lambda *_: next(later)
        assert pictures(web).fetch(f"{served[0]}://{HOST}/picture") == CONTENT
        assert [address for address, _ in web.connected] == [PUBLIC] and next(later) == ["127.0.0.1"]

    def test_one_that_sends_on(self, served: tuple[str, int]) -> None:
        Server.asked.clear()
        web = Web(served[1])
        assert "not followed" in refused(lambda: pictures(web).fetch(f"{served[0]}://{HOST}/redirect"))
        assert len(Server.asked) == 1 and len(web.connected) == 1

    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            (f"https://user:secret@{HOST}/picture", "without a name or a password"),
            (f"https://{HOST}:8080/picture", "names the port 8080"),
            (f"https://{HOST}:99999/picture", "damaged"),
            (f"ftp://{HOST}/picture", "https://HOST/PATH"),
            ("https:///picture", "https://HOST/PATH"),
            ("http:/[::1/picture", "damaged"),
        ],
    )
    def test_addresses_of_another_form(self, address: str, expected: str) -> None:
        web = Web(1)
        message = refused(lambda: pictures(web)(address))
        assert expected in message and "secret" not in message and not web.resolved

    def test_a_name_that_nobody_has(self) -> None:
        def fail(*_: object) -> list[str]:
            raise socket.gaierror(-2, "Name or service not known")

        assert "There is no host" in refused(
            lambda: RemotePictures((HOST,), resolve=fail).fetch(f"https://{HOST}/picture")
        )
        assert "private network" in refused(
            lambda: RemotePictures((HOST,), resolve=lambda *_: []).fetch(f"https://{HOST}/picture")
        )

    def test_one_that_cannot_be_reached(self) -> None:
        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))
        web = Web(closed.getsockname()[1], PUBLIC, "1.1.1.1")
        assert "can't be reached" in refused(lambda: pictures(web).fetch(f"http://{HOST}/picture"))
        assert [address for address, _ in web.connected] == [PUBLIC, "1.1.1.1"]
        closed.close()

    @pytest.mark.parametrize("kind", ["gone", "short"])
    def test_what_is_not_there_or_breaks_off(self, served: tuple[str, int], kind: str) -> None:
        message = refused(lambda: pictures(Web(served[1])).fetch(f"{served[0]}://{HOST}/{kind}"))
        assert ("status 404" if kind == "gone" else "can't be reached") in message


class TestLimits:
    @pytest.mark.parametrize("kind", ["picture", "untold", "says-large"])
    def test_size(self, served: tuple[str, int], kind: str) -> None:
        few = pictures(Web(served[1]), max_bytes=len(CONTENT) - 1)
        assert "larger than 0 MB" in refused(lambda: few.fetch(f"{served[0]}://{HOST}/{kind}"))
        if kind != "says-large":
            assert pictures(Web(served[1]), max_bytes=len(CONTENT)).fetch(f"{served[0]}://{HOST}/{kind}") == CONTENT

    @pytest.mark.parametrize("kind", ["in-drops", "head-in-drops"])
    def test_time_though_each_step_is_quick(self, served: tuple[str, int], kind: str) -> None:
        hasty = pictures(Web(served[1]), seconds=0.5)
        assert "did not give the picture within" in refused(lambda: hasty.fetch(f"{served[0]}://{HOST}/{kind}"))

    def test_a_server_that_says_nothing(self) -> None:
        silent = socket.create_server(("127.0.0.1", 0))
        for scheme in ("http", "https"):
            hasty = pictures(Web(silent.getsockname()[1]), seconds=0.3)
            assert "did not give the picture" in refused(
                lambda fetcher=hasty, s=scheme: fetcher.fetch(f"{s}://{HOST}/picture")
            )
        silent.close()


@pytest.mark.parametrize("served", ["https"], indirect=True)
class TestCertificates:
    @pytest.fixture
    def port(self, served: tuple[str, int]) -> int:
        return served[1]

    def test_one_that_nobody_vouches_for(self, port: int) -> None:
        web = Web(port)
        plain = RemotePictures((HOST,), resolve=web.resolve, connect=web.connect)
        assert "certificate" in refused(lambda: plain.fetch(f"https://{HOST}/picture"))

    def test_one_of_another_host(self, port: int) -> None:
        other = pictures(Web(port), "other.example.org")
        assert "certificate" in refused(lambda: other.fetch("https://other.example.org/picture"))


class TestHosts:
    def test_a_list_in_one_text(self) -> None:
        assert hosts_of("images.example.org, CDN.example.org.,") == ("images.example.org", "cdn.example.org")
        assert hosts_of("") == ()

    @pytest.mark.parametrize("host", ["https://example.org", "example.org/path", "*", "*.example.org", "a b", "a:80"])
    def test_what_is_no_host(self, host: str) -> None:
        with pytest.raises(BadSetting, match="names of hosts"):
            RemotePictures((host,))


@pytest.mark.parametrize(
    "source", ["https://example.org/a.png", "HTTP://example.org", Path("https://example.org/a.png")]
)
def test_opening_fetches_nothing(source: object) -> None:
    assert is_address(source)
    with pytest.raises(BadImage, match=r"The picture on example\.org is not fetched: download") as caught:
        open_image(source)
    assert "There is no file" not in str(caught.value)


def test_a_file_may_be_called_so(tmp_path: Path, noise) -> None:
    (tmp_path / "https:").mkdir()
    noise(9, 9).save(tmp_path / "https:" / "a.png")
    assert open_image(tmp_path / "https:" / "a.png")[0].size == (9, 9)
