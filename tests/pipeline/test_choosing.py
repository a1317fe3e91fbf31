"""Which tokens might have stood in an answer, against plain transformers; and answers that are held to a schema."""

from __future__ import annotations

import json
import math

import pytest
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from vlm_demo import Pipeline
from vlm_demo.contracts.engine import Request, answered
from vlm_demo.contracts.sampling import Sampling
from vlm_demo.errors import BadSetting

QUESTION = "What colour is the star?"
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["colour", "count"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def picture(noise) -> Image.Image:
    return noise(90, 70, 3)


def asked(picture: Image.Image, sampling: Sampling, tokens: int) -> Request:
    return Request((picture,), QUESTION, max_new_tokens=tokens, sampling=sampling)


def test_alternatives_are_those_of_plain_transformers(pipe: Pipeline, checkpoint, picture: Image.Image) -> None:
    answer = answered(pipe.answer(asked(picture, Sampling(alternatives=5), 6)))
    plain = LlavaForConditionalGeneration.from_pretrained(checkpoint, dtype="auto").eval()
    processor = LlavaProcessor.from_pretrained(checkpoint)
    inputs = processor(images=[picture], text=answer.prompt.text, add_special_tokens=False, return_tensors="pt")
    written = torch.tensor([[token.id for token in answer.tokens]])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], written], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.no_grad():
        logits = plain(**inputs).logits[0].float()
    count = len(answer.tokens)
    values, ids = logits[-count - 1 : -1].log_softmax(-1).topk(5)
    assert count > 2
    for token, expected, logprobs in zip(answer.tokens, ids.tolist(), values.tolist(), strict=True):
        assert [other.id for other in token.alternatives] == expected
        assert [other.logprob for other in token.alternatives] == pytest.approx(logprobs, abs=1e-3)
        assert token.id == expected[0] and math.log(token.probability) == pytest.approx(logprobs[0], abs=1e-3)
        likeliest = token.alternatives[0].text
        assert likeliest == token.text or "\ufffd" in likeliest or token.id in pipe.tokenizer.all_special_ids
    assert answered(pipe.answer(asked(picture, Sampling(), 2))).tokens[0].alternatives == ()


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=2.0, seed=3), Sampling(top_k=1, top_p=0.1)])
def test_an_answer_is_held_to_a_schema(pipe: Pipeline, picture: Image.Image, sampling: Sampling) -> None:
    free = answered(pipe.answer(asked(picture, sampling, 40)))
    with pytest.raises(ValueError):
        json.loads(free.text)
    settings = {name: getattr(sampling, name) for name in ("temperature", "top_k", "top_p", "seed")}
    held = answered(pipe.answer(asked(picture, Sampling(**settings, schema=json.dumps(SCHEMA)), 40)))
    found = json.loads(held.text)
    assert list(found) == ["colour", "count"] and found["colour"] in ("red", "blue") and 1 <= found["count"] <= 9


def test_an_impossible_schema_is_refused_before_the_first_token(pipe: Pipeline, picture: Image.Image) -> None:
    with pytest.raises(BadSetting, match="simplify"):
        answered(pipe.answer(asked(picture, Sampling(schema='{"type": "banana"}'), 5)))


@pytest.mark.parametrize("count", [-1, 21, True])
def test_alternatives_are_0_to_20(count: int) -> None:
    with pytest.raises(BadSetting, match="alternatives"):
        Sampling(alternatives=count)
