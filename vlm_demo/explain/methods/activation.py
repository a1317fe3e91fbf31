"""Token activation: how strongly each image token itself predicts the word, minus what the words before it explain.

After the Token Activation Map of Li et al. 2025 (https://arxiv.org/abs/2506.23270), without its last filter.
"""

from __future__ import annotations

import numpy as np

from vlm_demo.explain.methods.request import MapInputs


def cells(request: MapInputs) -> np.ndarray:
    """[patches], never below 0, the mean of the word's steps."""
    answer, model = request.answer, request.teacher_forcing
    positions = list(answer.prompt.image_positions)
    ids = [*answer.prompt.ids, *(token.id for token in answer.tokens)]
    hidden = model.hidden(answer)
    maps = []
    for step in request.steps:
        here = len(answer.prompt.ids) + step
        # Words between the pictures and this one; another writing of the same token would explain it away.
        earlier = [place for place in range(max(positions) + 1, here) if ids[place] != ids[here]]
        logits = model.logits(hidden, [ids[here], *(ids[place] for place in earlier)])  # [places, 1 + earlier]
        maps.append(unexplained(logits[positions, 0], logits[positions, 1:], logits[earlier, 0]))
    return request.trace.on_patches(np.mean(maps, axis=0), request.image)


def unexplained(picture: np.ndarray, others: np.ndarray, near: np.ndarray) -> np.ndarray:
    """A token's activation without what earlier words activate in the same image tokens; never below 0.

    The earlier words' activations, each weighted by how strongly the place of that word predicts the token, are joined,
    scaled to the best fit of the token's activation (least squares), and subtracted (equations 2 to 4 of the paper).

    Args:
        picture: [image tokens], the token's logit on each.
        others: [image tokens, earlier words], theirs.
        near: [earlier words], the token's logit at the place of each.
    """
    others, near = np.maximum(others, 0), np.maximum(near, 0)
    if not near.sum() > 0:
        return np.maximum(picture, 0)
    explained = others @ (near / near.sum())
    power = float(explained @ explained)
    scale = max(float(picture @ explained) / power, 0.0) if power > 0 else 0.0
    return np.maximum(picture - scale * explained, 0)


def lacks(request: MapInputs) -> str | None:
    if request.teacher_forcing.reads_image_tokens:
        return None
    return "In this model image tokens are no part of the text, so they say no words: choose another method."
