"""The API as the ``openai`` package sees it, over a page that is served."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.kit.fake_engine import FakeEngine
from tests.kit.served_page import served_page
from vlm_demo.engines.registry import ModelRegistry

ANSWER = "a large purple star and a small red square"


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    service = ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")
    with (
        served_page(service) as (_, url),
        openai.OpenAI(base_url=f"{url}v1", api_key="none", max_retries=0) as opened,
    ):
        yield opened


def messages(uri: str, question: str = "What is it?") -> list:
    parts = [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": uri}}]
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["llava"]
    assert client.models.retrieve("llava").object == "model"


def test_an_answer_in_one_piece(client: openai.OpenAI, uri: str) -> None:
    completion = client.chat.completions.create(
        model="llava", messages=messages(uri), logprobs=True, seed=3, max_tokens=40
    )
    (choice,) = completion.choices
    assert choice.message.content == ANSWER and choice.finish_reason == "stop"
    assert "".join(token.token for token in choice.logprobs.content) == ANSWER
    assert all(token.logprob <= 0 for token in choice.logprobs.content)
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert completion.usage.prompt_tokens_details.cached_tokens >= 0


def test_a_stream(client: openai.OpenAI, uri: str) -> None:
    options = {"include_usage": True}
    pieces = list(
        client.chat.completions.create(model="llava", messages=messages(uri), stream=True, stream_options=options)
    )
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == ANSWER
    assert [piece.choices[0].finish_reason for piece in pieces if piece.choices][-1] == "stop"
    assert pieces[-1].usage.completion_tokens > 0


def test_errors_are_the_client_s_exceptions(client: openai.OpenAI, uri: str) -> None:
    with pytest.raises(openai.NotFoundError, match="not loaded here"):
        client.chat.completions.create(model="gpt-4o", messages=messages(uri))
    with pytest.raises(openai.BadRequestError, match="is not fetched") as caught:
        client.chat.completions.create(model="llava", messages=messages("https://example.com/a.png"))
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model="llava", messages=messages(uri), temperature=-1)
