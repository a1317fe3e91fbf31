"""Pictures from the web: from allowed hosts alone, and nothing that they send is believed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.api.conftest import Serve, png
from tests.kit.fake_pipeline import FakePipeline
from vlm_demo.api import image_hosts
from vlm_demo.api.access import Access
from vlm_demo.api.image_hosts import ImageHosts
from vlm_demo.errors import BadImage


class Site(BaseHTTPRequestHandler):
    seen: list[str] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/a.png")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/missing" else 200)
        self.end_headers()
        self.wfile.write(png())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """HOST:PORT of a server on this machine."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(Site, "seen", [])
    server = HTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_an_allowed_host_gives_its_picture(site: str) -> None:
    assert ImageHosts([site.upper()]).picture(f"HTTP://{site}/a.png?b=c") == png()
    assert Site.seen == ["/a.png?b=c"]


@pytest.mark.parametrize(
    "address",
    [
        "http://{host}:1/a.png",
        "http://{host}/a.png",
        "http://user:word@{site}/a.png",
        "http://localhost:{port}/a.png",
        "http://{site}.example.org/a.png",
        "http://{site}@example.org/a.png",
        "http://example.org#@{site}/a.png",
        "http:///a.png",
        "http://[::1]:{port}/a.png",
        "http://exa mple/a.png",
        "ftp://{site}/a.png",
        "/etc/passwd",
        "file:///etc/passwd",
        "",
    ],
)
def test_no_other_address_is_asked(site: str, address: str) -> None:
    host, _, port = site.partition(":")
    with pytest.raises(BadImage) as caught:
        ImageHosts([site]).picture(address.format(site=site, host=host, port=port))
    assert "data URI" in str(caught.value) and Site.seen == []


@pytest.mark.parametrize("path", ["/moved", "/missing"])
def test_nothing_but_the_file_itself_counts(site: str, path: str) -> None:
    with pytest.raises(BadImage, match="in place of a picture"):
        ImageHosts([site]).picture(f"http://{site}{path}")
    assert Site.seen == [path]


def test_no_more_than_a_picture_s_bytes_are_taken(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_hosts, "MOST_BYTES", 10)
    with pytest.raises(BadImage, match="larger than"):
        ImageHosts([site]).picture(f"http://{site}/a.png")


def test_a_host_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(BadImage, match="can't be fetched"):
        ImageHosts(["127.0.0.1:1"]).picture("http://127.0.0.1:1/a.png")


def test_the_server_fetches_for_who_may_ask(serve: Serve, site: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": f"http://{site}/a.png"}}
    sent = {"model": "llava", "messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, picture]}]}
    engine = FakePipeline()
    for access, status in (
        (Access(), 400),
        (Access("key", ImageHosts([site])), 401),
        (Access(None, ImageHosts([site])), 200),
    ):
        assert serve(engine, access).post("/v1/chat/completions", json=sent).status_code == status
    assert Site.seen == ["/a.png"] and engine.requests[0]["images"] == (png(),)
