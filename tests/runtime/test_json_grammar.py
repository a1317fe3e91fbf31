"""Whatever a model would like to write: held to a schema, it writes JSON that fits, and then ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from tests.kit.tiny import tokenizer
from vlm_demo.errors import BadSetting
from vlm_demo.runtime.json_grammar import LONGEST_SCHEMA, JsonGrammars, JsonLogitsProcessor

WORDS = tokenizer()
END = WORDS.eos_token_id
SIZE = len(WORDS) + 7  # logits of models are often wider than the vocabulary
RECEIPT = {
    "type": "object",
    "properties": {
        "count": {"type": "integer", "minimum": 3, "maximum": 12},
        "colour": {"enum": ["red", "blue"]},
        "date": {"type": "string", "pattern": r"^\d\d\.\d\d\.$"},
        "flags": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2},
        "note": {"type": ["string", "null"], "maxLength": 4},
    },
    "required": ["count", "colour", "date", "flags", "note"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def grammars() -> JsonGrammars:
    return JsonGrammars(WORDS)


def written(processor: JsonLogitsProcessor, seed: int, prompt: tuple[int, ...] = (0, 9, 9), most: int = 200) -> str:
    """What a model writes that prefers other tokens at each step."""
    random, ids = torch.Generator().manual_seed(seed), list(prompt)
    for _ in range(most):
        scores = processor(torch.tensor([ids]), torch.randn(1, SIZE, generator=random))
        token = int(scores[0].argmax())
        if token == END:
            return WORDS.decode(ids[len(prompt) :], skip_special_tokens=True)
        ids.append(token)
    raise AssertionError("it does not end")


@pytest.mark.parametrize("seed", range(8))
def test_what_is_written_fits_the_schema(grammars: JsonGrammars, seed: int) -> None:
    found = json.loads(written(grammars.processor_for(json.dumps(RECEIPT), {END}), seed))
    assert list(found) == RECEIPT["required"]
    assert isinstance(found["count"], int) and 3 <= found["count"] <= 12
    assert found["colour"] in ("red", "blue")
    assert len(found["date"]) == 6 and found["date"][2::3] == ".."
    assert [type(flag) for flag in found["flags"]] == [bool, bool]
    assert found["note"] is None or len(found["note"]) <= 4


def test_without_it_the_same_model_writes_something_else() -> None:
    random = torch.Generator().manual_seed(0)
    ids = [int(torch.randn(SIZE, generator=random)[: len(WORDS)].argmax()) for _ in range(50)]
    with pytest.raises(ValueError):
        json.loads(WORDS.decode(ids))


def test_every_token_that_ends_an_answer_may_end_it_where_one_may(grammars: JsonGrammars) -> None:
    other = WORDS.pad_token_id
    processor = grammars.processor_for('{"const": 1}', {END, other})
    first = processor(torch.tensor([[0]]), torch.zeros(1, SIZE))[0]
    assert torch.isinf(first[[END, other]]).all()
    (one,) = torch.nonzero(~torch.isinf(first))[:, 0].tolist()
    assert WORDS.decode([one]) == "1"
    last = processor(torch.tensor([[0, one]]), torch.zeros(1, SIZE))[0]
    assert set(torch.nonzero(~torch.isinf(last))[:, 0].tolist()) == {END, other}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "banana"}, "Invalid type: banana"),
        ({"not": {"type": "string"}}, "Unimplemented keys"),
        ({"type": "string", "pattern": "("}, "unclosed group"),
        ({"$ref": "http://127.0.0.1:1/schema"}, "does not fetch"),
        ([1], "no JSON object"),
        ({"description": "x" * LONGEST_SCHEMA}, "smaller one"),
    ],
)
def test_a_schema_that_can_t_be_held_to_is_refused(grammars: JsonGrammars, schema: Any, message: str) -> None:
    with pytest.raises(BadSetting, match=message) as caught:
        grammars.processor_for(json.dumps(schema), {END})
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_can_t_be_followed_is_refused() -> None:
    assert not JsonGrammars(None).usable
    with pytest.raises(BadSetting, match="can't be held"):
        JsonGrammars(None).processor_for("{}", {END})
