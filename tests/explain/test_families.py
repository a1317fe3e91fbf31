"""Passes of their own in every family that writes: what is read again is the answer that was given."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.families import (
    test_gemmas,
    test_idefics3,
    test_instructblip,
    test_internvl,
    test_llava_next,
    test_mllama,
    test_qwen_vl,
)
from vlm_demo import Pipeline

FAMILIES = [
    test_gemmas.TestPaliGemma,
    test_gemmas.TestGemma3,
    test_idefics3.TestIdefics3,
    test_idefics3.TestSmolVlm,
    test_instructblip.TestInstructBlip,
    test_internvl.TestInternVl,
    test_llava_next.TestLlavaNext,
    test_llava_next.TestLlavaOnevision,
    test_mllama.TestMllama,
    test_qwen_vl.TestQwen25Vl,
    test_qwen_vl.TestQwen3Vl,
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_all_offered_methods_read_the_answer_that_was_given(family: Any, tmp_path: Path, noise) -> None:
    pipe = Pipeline.from_pretrained(family.make(tmp_path))
    answer = pipe.ask(noise(90, 160), "How many circles are there?", max_new_tokens=3)
    patches = len(answer.view.boxes)
    masks = np.zeros((2, patches), bool)
    masks[1] = True
    told = pipe.likelihoods(answer, masks)
    assert np.exp(told[0]) == pytest.approx([token.probability for token in answer.tokens], rel=2e-2, abs=1e-4)
    assert abs(told[1] - told[0]).max() > 1e-4
    for name, reason in pipe.heatmap_methods(answer).items():
        if reason is None:
            cells = pipe.cells(answer, 0, method=name)
            assert cells.shape == (patches,) and np.isfinite(cells).all(), name
            assert name in ("activation", "occlusion", "queries", "relevancy") or cells.std() > 0, name
    assert pipe.grounding(answer).sentence
