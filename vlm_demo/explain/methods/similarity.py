"""Similarity: which patches make the picture's vector resemble the word's, gradient × attention in the vision encoder.

Chefer et al. 2021 for CLIP, as section 4 of https://arxiv.org/abs/2103.15679 has it.
"""

from __future__ import annotations

import numpy as np

from vlm_demo.explain.methods.request import MapInputs


def cells(request: MapInputs) -> np.ndarray:
    """[patches]. The word is compared with the picture by itself, without the rest of the answer."""
    assert request.teacher_forcing.image_text_matcher is not None
    return request.teacher_forcing.image_text_matcher.relevancy(request.view, request.word)


def lacks(request: MapInputs) -> str | None:
    if request.teacher_forcing.image_text_matcher is not None:
        return None
    return "This model has no part that compares pictures with texts: choose another method, or a model that has one."
