"""Which key a request's picture gets."""

import base64
import hashlib
import json
from typing import Any

import pytest

from tests.kit.pictures import png
from vlm_demo.serving.picture_key import picture_key

RED = png("red")


def body(*urls: str, **more: Any) -> bytes:
    parts = [{"type": "text", "text": "What?"}, *({"type": "image_url", "image_url": {"url": url}} for url in urls)]
    return json.dumps({"messages": [{"role": "user", "content": parts}], **more}).encode()


def uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def test_equal_files_have_one_name_however_they_are_written() -> None:
    name = hashlib.sha256(RED).hexdigest()[:32]
    percent = "data:image/png," + "".join(f"%{byte:02x}" for byte in RED)
    lines = f"data:image/png;base64,{base64.encodebytes(RED).decode()}"
    for url in (uri(RED), uri(RED, "application/octet-stream"), percent, lines):
        assert picture_key(body(url)) == name
    assert picture_key(body(uri(png("blue")))) != name


def test_the_first_picture_counts_whatever_is_asked_later() -> None:
    first, other = uri(RED), uri(png("blue"))
    later = {
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": first}}]},
            {"role": "assistant", "content": "A square."},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": other}}]},
        ]
    }
    assert picture_key(json.dumps(later).encode()) == picture_key(body(first)) != picture_key(body(other, first))


def test_an_address_on_the_web_names_its_picture() -> None:
    assert picture_key(body("https://a.example/x.png")) not in (None, picture_key(body("https://a.example/y.png")))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"null", b'{"messages": 3}', b'{"messages": [{"content": [{"image_url": 1}]}, 2]}', b"[" * 10**5,
     b'{"messages": [{"role": "user", "content": "What?"}]}', b"\xff"],
)  # fmt: skip
def test_what_has_no_picture_has_no_name(content: bytes) -> None:
    assert picture_key(content) is None


def test_data_that_is_no_base64_has_a_name_all_the_same() -> None:
    assert picture_key(body("data:image/png;base64,\ud800")) is not None
