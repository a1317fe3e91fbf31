"""Pictures that programs send: data URIs, and addresses at allowed hosts; tests/images/test_remote_pictures.py has what
is fetched of these."""

from __future__ import annotations

import pytest

from tests.api.conftest import Serve
from tests.kit.fake_engine import FakeEngine
from tests.kit.pictures import png
from vlm_demo.api.access import Access
from vlm_demo.api.image_hosts import ImageHosts
from vlm_demo.errors import BadImage
from vlm_demo.images.remote_pictures import RemotePictures


class Web(RemotePictures):
    """Allows one host, and has its pictures without asking anybody."""

    def __init__(self) -> None:
        super().__init__(["pictures.example.org"])
        self.fetched: list[str] = []

    def fetch(self, address: str) -> bytes:
        if "//pictures.example.org/" not in address:
            return super().fetch(address)
        self.fetched.append(address)
        return png()


@pytest.mark.parametrize("given", ["/etc/passwd", "file:///etc/passwd", "a.png", "", "data:text/plain,hello"])
def test_a_file_of_this_machine_is_no_picture(given: str) -> None:
    with pytest.raises(BadImage, match="data URI"):
        ImageHosts(Web()).picture(given)


@pytest.mark.parametrize("given", ["http://127.0.0.1:1/a.png", "http://user:word@pictures.example.org/a.png"])
def test_no_other_address_is_fetched(given: str) -> None:
    web = Web()
    with pytest.raises(BadImage):
        ImageHosts(RemotePictures(["pictures.example.org"]) if "@" in given else web).picture(given)
    assert not web.fetched


def test_the_server_fetches_for_who_may_ask(serve: Serve) -> None:
    address, web, engine = "https://pictures.example.org/a.png", Web(), FakeEngine()
    picture = {"type": "image_url", "image_url": {"url": address}}
    sent = {"model": "llava", "messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, picture]}]}
    for access, status in (
        (Access(), 400),
        (Access("key", ImageHosts(web)), 401),
        (Access(None, ImageHosts(web)), 200),
    ):
        assert serve(engine, access).post("/v1/chat/completions", json=sent).status_code == status
    assert web.fetched == [address] and engine.requests[0]["images"] == (png(),)
