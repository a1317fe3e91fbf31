"""Query × patch: a Q-Former whose queries are made to look at known patches, in BLIP-2 and InstructBLIP."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.kit.tiny import tiny_blip2
from tests.models.adapters import test_instructblip  # its class by name would be collected here once more
from tests.models.adapters.parity import QUESTION, emptied, turned
from vlm_demo import Pipeline
from vlm_demo.contracts.geometry import interpolate

PLACES = (5, 10, 6, 9, 5)  # the patch of each query; of 4 × 4 those that no padding touches, whatever the shape


def planted(folder: Path) -> Pipeline:
    """Each query attends to its own of ``PLACES`` and nothing else, neither to other queries nor to words.

    Features say in their first dimensions which patch they are, and in the others what is seen there.
    """
    pipe = emptied(folder)
    model, count = pipe.model, 16
    seen = model.vision_model.embeddings
    queries = model.query_tokens[0]
    with torch.no_grad():
        for part in (seen.patch_embedding.weight, seen.patch_embedding.bias):
            part.mul_(0.1)[:count] = 0
        seen.position_embedding.zero_()
        seen.position_embedding[0, 1:, :count] = 10 * torch.eye(count)
        seen.class_embedding.zero_()
        queries.copy_(10 * torch.eye(*queries.shape))
        for layer in model.qformer.encoder.layer:
            layer.attention.output.dense.weight.zero_()
            layer.attention.output.dense.bias.zero_()
        (looking,) = pipe.stages().family.bridge_attentions
        for linear in (looking.query, looking.key):
            linear.weight.zero_()
            linear.bias.zero_()
        for head in range(looking.num_attention_heads):
            begin = head * looking.attention_head_size
            looking.key.weight[begin : begin + count, :count] = torch.eye(count)
            for query, place in enumerate(PLACES):
                looking.query.weight[begin + place, query] = 10
    return pipe


@torch.no_grad()
@pytest.mark.parametrize(
    "make",
    [lambda folder: tiny_blip2(folder, frequency=4), test_instructblip.TestInstructBlip.make],
    ids=["blip2", "instructblip"],
)
def test_a_querys_map_lies_where_a_change_reaches_it(tmp_path: Path, noise, make: Callable[[Path], Path]) -> None:
    pipe = planted(make(tmp_path))
    # Two pictures that are padded to squares, above and below, and left and right; the second was stored on its side.
    pictures = [noise(96, 64, 1), noise(64, 96, 2)]
    files = [pictures[0], turned(pictures[1])]
    answer = pipe.explain(files, QUESTION, "star")
    assert [view.size for view in answer.views] == [(96, 64), (64, 96)]

    def tokens(given: list) -> torch.Tensor:
        return (
            pipe.stages()
            .bridge(pipe.stages().encoder([pipe.view(picture) for picture in given]), None, answer.prompt)
            .embeddings
        )

    before = tokens(files)
    for image, view in enumerate(answer.views):
        for patch in set(PLACES):
            changed = pictures[image].copy()
            # 24 pixels become 6 or 12, so the resize filter carries up to 8 over a patch's edge.
            x0, y0, x1, y1 = (int(edge) for edge in view.boxes[patch] + (10, 10, -10, -10))
            changed.paste(noise(x1 - x0, y1 - y0, 9), (x0, y0))
            given = [*files]
            given[image] = turned(changed) if image else changed
            moved = (tokens(given) - before).abs().amax(-1) > 1e-6
            assert moved.tolist() == [number == image and place == patch for number in (0, 1) for place in PLACES]
        for query, place in enumerate(PLACES):
            weights = np.zeros(2 * len(PLACES), np.float32)
            weights[image * len(PLACES) + query] = 0.5
            cells = answer.trace.on_patches(weights, image)
            assert cells.argmax() == place and cells[place] == pytest.approx(0.5, abs=1e-3)
            assert not answer.trace.on_patches(weights, 1 - image).any()
            y, x = np.unravel_index(interpolate(cells, view).argmax(), view.size[::-1])
            x0, y0, x1, y1 = view.boxes[place]
            assert x0 <= x < x1 and y0 <= y < y1
