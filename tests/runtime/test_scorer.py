"""Texts that are compared with a picture: how many at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.tiny import tiny_blip2
from vlm_demo import Pipeline
from vlm_demo.pipeline.scoring import ScoringModel
from vlm_demo.runtime import scorer


def test_many_texts_are_compared_some_at_a_time(tmp_path: Path, noise, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipeline.from_pretrained(tiny_blip2(tmp_path, heads="together"))
    scoring = pipe.scoring
    assert isinstance(scoring, ScoringModel)
    texts = [f"a star and {number} squares" for number in range(150)]
    sizes: list[int] = []
    for name in ("texts", "matches"):
        compute = getattr(scoring.matcher, name)

        def counted(*given, compute=compute):
            sizes.append(len(given[-1]))
            return compute(*given)

        monkeypatch.setattr(scoring.matcher, name, counted)
    found = scoring.score(noise(48, 48), texts)
    assert sizes == [64, 64, 22] * 2
    monkeypatch.setattr(scorer, "AT_ONCE", 1000)
    together = scoring.score(noise(48, 48), texts)
    assert sizes[6:] == [150] * 2
    assert found.similarities == pytest.approx(together.similarities, abs=1e-5)
    assert found.matches == pytest.approx(together.matches, abs=1e-5)
    assert sum(found.probabilities) == pytest.approx(1, abs=1e-4)
