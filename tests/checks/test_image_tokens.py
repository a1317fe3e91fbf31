"""Each way in which processor, tokenizer and encoder fall apart is caught where it happens, and named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.tiny import tiny_llava
from vlm_demo import Pipeline
from vlm_demo.checks import image_tokens
from vlm_demo.contracts.checks import FAIL, NAMES, OPEN, PASS
from vlm_demo.errors import ImageTokensMismatch

QUESTION = "How many circles are there in the picture?"


@pytest.fixture
def pipe(checkpoint: Path) -> Pipeline:
    """A pipeline of its own, to be broken."""
    return Pipeline.from_pretrained(checkpoint, remember=0)


def failed(pipe: Pipeline, image: object) -> str:
    """The sentence that stands in place of an answer."""
    with pytest.raises(ImageTokensMismatch) as raised:
        pipe.ask(image, QUESTION, max_new_tokens=1)
    assert raised.value.check.verdict == FAIL and str(raised.value).startswith(raised.value.check.why)
    return str(raised.value)


def test_a_sound_request_says_where_the_picture_stands(pipe: Pipeline, noise) -> None:
    answer = pipe.ask(noise(60, 60), QUESTION, max_new_tokens=1)
    assert tuple(check.name for check in answer.checks) == NAMES
    own = answer.checks[0]
    image = next(segment for segment in answer.prompt.segments if segment.kind == "image")
    assert own.verdict == PASS and own.remedy == ""
    assert own.values["placeholders"] == own.values["features"] == 16
    assert (own.values["first"], own.values["last"]) == (image.start, image.stop - 1)
    assert own.measured == f"16 placeholders = 16 features, at {image.start} – {image.stop - 1}"


def test_two_pictures_are_counted_apart(pipe: Pipeline, noise, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [noise(60, 60), noise(60, 60, 1)]
    assert pipe.ask(pictures, QUESTION, max_new_tokens=1).checks[0].values["pictures"] == 2
    counts = iter((15, 17))  # together as many as there are
    monkeypatch.setattr(pipe.answering.family, "placeholders", lambda _view: next(counts))
    own = pipe.ask(pictures, QUESTION, max_new_tokens=1).checks[0]
    assert own.verdict == FAIL and own.why == "1 placeholder of picture 1 is missing in the prompt."


@pytest.mark.parametrize(
    "off, said", [(-1, "1 placeholder of picture 1 is missing"), (1, "is too many"), (-3, "3 placeholders")]
)
def test_a_processor_that_counts_other_patches(pipe: Pipeline, noise, monkeypatch, off: int, said: str) -> None:
    monkeypatch.setattr(pipe.answering.family, "placeholders", lambda view: len(view.boxes) + off)
    assert said in failed(pipe, noise(60, 60))


def test_an_encoder_that_keeps_the_cls_token_wrongly(pipe: Pipeline, noise) -> None:
    pipe.model.config.vision_feature_select_strategy = "full"
    assert "17 features of the 16 patches of picture 1: the CLS token was kept" in failed(pipe, noise(60, 60))


def test_an_encoder_that_drops_the_cls_token_wrongly(tmp_path: Path, noise) -> None:
    pipe = Pipeline.from_pretrained(tiny_llava(tmp_path, vision_feature_select_strategy="full"), remember=0)
    assert pipe.ask(noise(60, 60), QUESTION, max_new_tokens=1).checks[0].values["features"] == 17
    pipe.model.config.vision_feature_select_strategy = "default"
    assert "where 17 belong: the CLS token was dropped" in failed(pipe, noise(60, 60))


def test_a_placeholder_under_another_id_than_the_models(pipe: Pipeline, noise) -> None:
    other = pipe.tokenizer.convert_tokens_to_ids("<pad>")
    pipe.answering.prompt = replace(pipe.answering.prompt, image_token_id=other, placeholder="<image>")
    own = pipe.ask(noise(60, 60), QUESTION, max_new_tokens=1).checks[0]
    assert own.verdict == FAIL and f"hold the token {other}, but the model replaces" in own.why


@pytest.mark.parametrize("length, said", [(10, "inside a picture"), (22, "before its end")])
def test_a_tokenizer_that_cuts(pipe: Pipeline, noise, length: int, said: str) -> None:
    pipe.answering.prompt.tokenizer.backend_tokenizer.enable_truncation(length)
    whole = pipe.answering.prompt._coded
    try:
        object.__setattr__(
            pipe.answering.prompt,
            "_coded",
            lambda text, **options: whole(text, truncation=True, max_length=length, **options),
        )
        try:
            own = pipe.ask(noise(60, 60), QUESTION, max_new_tokens=1).checks[0]
        except ImageTokensMismatch as error:
            own = error.check
    finally:
        pipe.answering.prompt.tokenizer.backend_tokenizer.no_truncation()
    assert own.verdict == FAIL and f"was cut at token {length}" in own.why and said in own.why


def test_a_model_in_one_piece_is_open() -> None:
    from tests.kit.fake_engine import FakeEngine

    assert image_tokens.check(FakeEngine._prompt("What?", 1, None, False), None).verdict == OPEN
