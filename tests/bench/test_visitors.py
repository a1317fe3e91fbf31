"""Visitors of the load test: what they receive, and that they notice wrong answers."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
from transformers import AutoConfig, LlavaForConditionalGeneration

from tests.kit.chat_server import chat_server
from tests.kit.fake_engine import FakeEngine
from tests.kit.served_page import served_page
from tests.kit.waiting import wait_until
from vlm_demo.bench import load, visitors
from vlm_demo.bench.visitors import (
    OpenAiVisitor,
    PageVisitor,
    VisitorReply,
    VisitorResults,
    other_visitors,
    pictures,
    visit,
)
from vlm_demo.contracts.engine import Event, Request
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.errors import VlmDemoError

ANSWER = "a large purple star and a small red square"


def test_pictures_all_differ() -> None:
    assert len(set(pictures(600))) == 600


def test_both_kinds_of_visitors_receive_the_answer() -> None:
    with served_page(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")) as (_, url):
        by_protocol, by_page = OpenAiVisitor(url, "llava"), PageVisitor(url)
        first_words: list[int] = []
        reply = by_protocol.ask(pictures(1)[0], lambda: first_words.append(1))
        assert (reply.status, reply.text, first_words) == (200, ANSWER, [1]) and reply.first_word <= reply.seconds
        assert reply.prompt_tokens > 196 and reply.cached_tokens == 0
        assert by_page.ask(pictures(1)[0]).text == ANSWER
        refused = OpenAiVisitor(url, "other").ask(pictures(1)[0])
        assert refused.status == 404 and "llava" in refused.text
        uris = [pictures(4)[:2], pictures(4)[2:]]
        expected = dict.fromkeys(uris[0], ANSWER) | dict.fromkeys(uris[1], "something else")
        results = visit([by_protocol.ask, by_page.ask], uris, expected, 0.5)
    assert results.replies and not results.errors
    assert set(results.wrong) == {("something else", ANSWER)}


def test_a_stream_that_breaks_is_no_answer() -> None:
    with chat_server(breaks_after=2) as server:
        reply = OpenAiVisitor(server.address, "first").ask(pictures(1)[0])
    assert reply.status == 0 and not reply.text.startswith("a red")


def test_a_busy_server_is_no_error() -> None:
    with chat_server(status=503, error={"error": {"message": "Come again."}}) as server:
        results = visit([OpenAiVisitor(server.address, "first").ask], [pictures(1)], {}, 0.01)
    assert results.retries == 1 and not results.errors and not results.replies


def test_replies_are_summed_up() -> None:
    results = VisitorResults()
    for seconds in (1.0, 2.0, 3.0):
        results.add(VisitorReply(200, "yes", seconds / 2, seconds, 100 if seconds > 1 else 0, 120), "yes")
    results.add(VisitorReply(200, "no", None, 4.0), "yes")
    results.add(VisitorReply(500, "Broken.", None, 1.0), "yes")
    results.add(VisitorReply(429, "Full.", None, 0.1), "yes")
    found = load.summary(2, 1.0, ["yes", "yes", "no"], results, [100, 200, 200, 210, 220, 230])
    assert (found.answers, found.wrong, found.errors, found.away) == (4, [("yes", "no")], ["500: Broken."], 1)
    assert (found.distinct, found.pictures, found.first_p50, found.answer_p50) == (1, 3, 1.0, 2.5)
    assert found.memory == (200, 230) and found.cached == pytest.approx(200 / 360) and not found.passed
    empty = load.summary(1, 1.0, [], VisitorResults(), [])
    assert math.isnan(empty.first_p50) and math.isnan(empty.cached)


class Changing(FakeEngine):
    """Answers with a word of the picture's own; ``after`` so many answers with another."""

    after = 10**9

    def stream(self, request: Request) -> Iterator[Event]:
        word = f"picture{hash(request.images[0]) % 10**6}"
        self.requests.append({})
        yield from FakeEngine(answer=word if len(self.requests) <= self.after else f"not {word}").stream(request)


@pytest.mark.parametrize(("after", "right"), [(10**9, True), (8, False)])
def test_others_ask_until_the_block_ends_and_notice_wrong_answers(after: int, right: bool) -> None:
    engine = Changing()
    engine.after = after
    with served_page(ModelRegistry(engine, lambda *_: engine, "llava")) as (_, url):
        with other_visitors(url, "llava") as results:
            assert wait_until(lambda: len(results.replies) > 12)
        asked = len(engine.requests)
    assert asked == 4 + len(results.replies) and not results.errors and not results.refusals
    assert bool(results.wrong) is not right
    assert all(received == f"not {expected}" for expected, received in results.wrong)


def test_others_without_answers_before_the_block_are_an_error() -> None:
    with (
        chat_server(status=503, error={"error": {"message": "Come again."}}) as server,
        pytest.raises(VlmDemoError, match="503: Come again"),
        other_visitors(server.address, "first"),
    ):
        pass


def test_a_page_of_text_is_a_picture() -> None:
    kind, coded = visitors.text_page("The quick brown fox " * 9).split(",")
    page = Image.open(io.BytesIO(base64.b64decode(coded)))
    left, top, right, bottom = ImageOps.invert(page.convert("L")).getbbox()
    assert kind == "data:image/png;base64" and page.format == "PNG"
    assert right - left > 400 and bottom - top > 2 * 28  # three lines of that font size


def test_the_load_test_runs_a_copy_in_float32(checkpoint: Path, tmp_path: Path) -> None:
    LlavaForConditionalGeneration.from_pretrained(checkpoint).bfloat16().save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    with load.in_float32(str(tmp_path)) as folder:
        copied = load_file(folder / "model.safetensors")
        assert AutoConfig.from_pretrained(folder).dtype == torch.float32
    assert {weight.dtype for weight in stored.values()} == {torch.bfloat16}
    assert stored.keys() == copied.keys() and not folder.exists()
    for name, weight in stored.items():
        torch.testing.assert_close(copied[name], weight.float(), rtol=0, atol=0)
