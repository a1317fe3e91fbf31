"""A request's body, as far as it chooses the page of a file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vlm_demo.api import chat_request
from vlm_demo.api.problems import Refused
from vlm_demo.images.open import Page


def read(**extension: Any) -> chat_request.ChatRequest:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "a scan"}}]
    body = {"model": "llava", "messages": [{"role": "user", "content": parts}], "vlm_demo": extension}
    return chat_request.read(json.dumps(body).encode(), lambda url: url.encode())


def test_the_page_of_the_question_s_files_is_chosen() -> None:
    assert read(page=3).request.images == (Page(b"a scan", 3),)
    assert read().request.images == (b"a scan",)


@pytest.mark.parametrize("page", [0, -1, "two", 1.5, True])
def test_a_page_that_is_no_number_from_1_on_is_refused(page: Any) -> None:
    with pytest.raises(Refused, match="vlm_demo.page"):
        read(page=page)
