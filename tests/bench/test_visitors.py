"""Visitors of the load test: what they hear, and that they notice what is wrong."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
from transformers import AutoConfig, LlavaForConditionalGeneration

from tests.kit.chat_server import chat_server
from tests.kit.fake_engine import FakeEngine
from tests.kit.served_page import served_page
from vlm_demo.bench import faults, load, visitors
from vlm_demo.bench.visitors import Heard, OpenAiVisitor, PageVisitor, VisitorReply, pictures, visit
from vlm_demo.engines.registry import ModelRegistry

SAID = "a large purple star and a small red square"


def test_pictures_all_differ() -> None:
    assert len(set(pictures(600))) == 600


def test_both_kinds_of_visitors_hear_the_answer() -> None:
    with served_page(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")) as (_, url):
        by_protocol, by_page = OpenAiVisitor(url, "llava"), PageVisitor(url)
        begun: list[int] = []
        heard = by_protocol.ask(pictures(1)[0], lambda: begun.append(1))
        assert (heard.status, heard.text, begun) == (200, SAID, [1]) and heard.first <= heard.seconds
        assert heard.prompt > 196 and heard.known == 0
        assert by_page.ask(pictures(1)[0]).text == SAID
        refused = OpenAiVisitor(url, "other").ask(pictures(1)[0])
        assert refused.status == 404 and "llava" in refused.text
        own = [pictures(4)[:2], pictures(4)[2:]]
        alone = dict.fromkeys(own[0], SAID) | dict.fromkeys(own[1], "something else")
        together = visit([by_protocol.ask, by_page.ask], own, alone, 0.5)
    assert together.replies and not together.errors
    assert set(together.wrong) == {("something else", SAID)}


def test_a_stream_that_breaks_is_no_answer() -> None:
    with chat_server(breaks_after=2) as server:
        heard = OpenAiVisitor(server.address, "first").ask(pictures(1)[0])
    assert heard.status == 0 and not heard.text.startswith("a red")


def test_a_server_without_a_place_is_no_error() -> None:
    with chat_server(status=503, error={"error": {"message": "Come again."}}) as server:
        heard = visit([OpenAiVisitor(server.address, "first").ask], [pictures(1)], {}, 0.01)
    assert heard.away == 1 and not heard.errors and not heard.replies


def test_what_was_heard_is_summed_up() -> None:
    heard = Heard()
    for seconds in (1.0, 2.0, 3.0):
        heard.add(VisitorReply(200, "yes", seconds / 2, seconds), "yes")
    heard.add(VisitorReply(200, "no", None, 4.0), "yes")
    heard.add(VisitorReply(500, "Broken.", None, 1.0), "yes")
    heard.add(VisitorReply(429, "Full.", None, 0.1), "yes")
    found = load.summary(2, 1.0, ["yes", "yes", "no"], heard, [100, 200, 200, 210, 220, 230])
    assert (found.answers, found.wrong, found.errors, found.away) == (4, [("yes", "no")], ["500: Broken."], 1)
    assert (found.distinct, found.pictures, found.first_p50, found.answer_p50) == (1, 3, 1.0, 2.5)
    assert found.memory == (200, 230) and not found.passed
    assert math.isnan(load.summary(1, 1.0, [], Heard(), []).first_p50)


@pytest.mark.parametrize(
    ("heard", "then", "borne"),
    [
        (VisitorReply(503, "The disk is full: free some space.", None, 1), VisitorReply(200, "yes", None, 1), True),
        (VisitorReply(200, "yes", None, 1), VisitorReply(200, "yes", None, 1), True),
        (VisitorReply(0, "ReadError", None, 1), VisitorReply(200, "yes", None, 1), False),
        (VisitorReply(503, "OSError: [Errno 28]", None, 1), VisitorReply(200, "yes", None, 1), False),
        (VisitorReply(503, "The disk is full.", None, 1), VisitorReply(500, "Broken.", None, 1), False),
    ],
)
def test_a_fault_is_borne_with_a_sentence_and_a_next_answer(
    heard: VisitorReply, then: VisitorReply, borne: bool
) -> None:
    assert faults._verdict("x", heard, then).borne is borne


def test_a_page_of_text_is_a_picture() -> None:
    kind, coded = visitors.written("The quick brown fox " * 9).split(",")
    page = Image.open(io.BytesIO(base64.b64decode(coded)))
    left, top, right, bottom = ImageOps.invert(page.convert("L")).getbbox()
    assert kind == "data:image/png;base64" and page.format == "PNG"
    assert right - left > 400 and bottom - top > 2 * 28  # three lines of the type's size


def test_the_load_is_borne_by_a_copy_in_float32(checkpoint: Path, tmp_path: Path) -> None:
    LlavaForConditionalGeneration.from_pretrained(checkpoint).bfloat16().save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    with load.in_float32(str(tmp_path)) as folder:
        copied = load_file(folder / "model.safetensors")
        assert AutoConfig.from_pretrained(folder).dtype == torch.float32
    assert {weight.dtype for weight in stored.values()} == {torch.bfloat16}
    assert stored.keys() == copied.keys() and not folder.exists()
    for name, weight in stored.items():
        torch.testing.assert_close(copied[name], weight.float(), rtol=0, atol=0)
