"""A loaded model's parts are what it can do; nothing is there that it can't."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.tiny import tiny_blip2, tiny_clip
from vlm_demo import Pipeline
from vlm_demo.errors import UnsupportedModel
from vlm_demo.pipeline.scoring import ScoringModel
from vlm_demo.pipeline.staged import StagedModel


def test_a_model_that_only_compares_has_nothing_that_writes(tmp_path: Path) -> None:
    pipe = Pipeline.from_pretrained(tiny_clip(tmp_path))
    assert pipe.answering is None and isinstance(pipe.scoring, ScoringModel)
    assert not pipe.can_answer and not pipe.can_explain
    with pytest.raises(UnsupportedModel, match="can't write answers"):
        pipe.stages()


def test_a_model_that_only_writes_has_nothing_that_compares(pipe: Pipeline) -> None:
    assert pipe.scoring is None and isinstance(pipe.answering, StagedModel) and pipe.stages() is pipe.answering
    with pytest.raises(UnsupportedModel, match="no part that compares"):
        pipe.relevancy(b"", "a star")


def test_what_the_encoder_made_for_an_answer_is_remembered_for_scoring(tmp_path: Path, noise) -> None:
    pipe = Pipeline.from_pretrained(tiny_blip2(tmp_path, heads="apart"))
    picture = noise(60, 50)
    pipe.ask(picture, "What is it?", max_new_tokens=1)
    stages = {stage.name: stage.facts for stage in pipe.score(picture, ["a star"]).stages}
    assert stages["encoder"].cached == 1
    pipe.forget()
    stages = {stage.name: stage.facts for stage in pipe.score(picture, ["a star"]).stages}
    assert stages["encoder"].cached == 0
    pipe.forget()
    stages = {stage.name: stage.facts for stage in pipe.score(picture, ["a star"], visitor="one").stages}
    assert stages["encoder"].cached == 0 and pipe.remembered.bytes > 0
    pipe.forget("one")
    assert pipe.remembered.bytes == 0
