"""Occlusion: a planted thing must come out where it was planted; and what hiding a patch changes."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.kit.views import view
from vlm_demo.contracts import PatchGrid
from vlm_demo.explain.masking import PatchMasker
from vlm_demo.explain.methods import occlusion
from vlm_demo.explain.methods.request import MapInputs


class Planted:
    """Says the word less likely by 3 nats when any of ``patches`` is hidden, by less the fewer are; else never."""

    def __init__(self, patches: list[int]) -> None:
        self.patches = patches

    def likelihoods(self, answer: object, image: int, masks: np.ndarray) -> np.ndarray:
        hidden = masks[:, self.patches].mean(1)
        return np.stack([np.full(len(masks), -0.1), -0.1 - 3 * hidden], 1)  # the second token is the word


@pytest.mark.parametrize("patch", [0, 27, 100, 195])
def test_the_planted_patch_is_the_hottest(patch: int) -> None:
    seen = view((140, 140), (14, 14))
    answer = SimpleNamespace(views=(seen,))
    cells = occlusion.cells(MapInputs(answer, (1,), 0, None, model=Planted([patch])))
    assert cells.argmax() == patch and np.median(cells) == 0
    assert not occlusion.cells(MapInputs(answer, (0,), 0, None, model=Planted([patch]))).any()


def test_padding_is_not_tried() -> None:
    seen = view((140, 70), (14, 14), (0, -35, 140, 105))
    tried = []

    class Listening(Planted):
        def likelihoods(self, answer: object, image: int, masks: np.ndarray) -> np.ndarray:
            tried.append(masks)
            return super().likelihoods(answer, image, masks)

    occlusion.cells(MapInputs(SimpleNamespace(views=(seen,)), (1,), 0, None, model=Listening([90])))
    windows = tried[0][1:].reshape(-1, 14, 14)
    assert windows[:, 4:10].any((1, 2)).all() and not tried[0][0].any()


@pytest.mark.parametrize("grid", [(1, 1), (3, 5), (14, 14), (24, 18)])
def test_windows_cover_every_patch(grid: tuple[int, int]) -> None:
    windows = occlusion.windows_of(grid)
    assert windows.shape[1] == grid[0] * grid[1] and windows.any(0).all() and windows.any(1).all()


def test_a_windows_fall_is_divided_among_its_patches() -> None:
    windows = np.array([[True, True, False], [False, True, False]])
    assert occlusion.spread(np.array([4.0, 1.0]), windows).tolist() == [2.0, 1.5, 0.0]


def test_only_the_hidden_patches_pixels_change(pipe, noise) -> None:
    seen = pipe.view(noise(70, 90))
    masks = np.zeros((2, 16), bool)
    masks[1, 6] = True
    whole, part = PatchMasker(pipe.view, seen)(masks)
    assert (whole.pixel_values == seen.pixel_values).all()
    changed = (part.pixel_values != seen.pixel_values).any(1)[0]
    assert changed[12:24, 24:36].any() and changed.sum() == changed[12:24, 24:36].sum()


def test_where_patches_overlap_the_upload_itself_is_covered(pipe) -> None:
    image = Image.new("RGB", (80, 80), "white")
    image.paste("black", (20, 20, 40, 40))
    from dataclasses import replace

    seen = pipe.view(image)
    coarse = PatchGrid((1, 1), np.array([[0, 0, 80, 80]], np.float32), np.array([16]))
    tiled = replace(seen, patch_grids=(*seen.patch_grids, coarse))
    mask = np.zeros((1, 16), bool)
    mask[0, 5] = True  # 20..40 both ways
    hidden = PatchMasker(pipe.view, tiled)(mask)[0].pixel_values
    changed = (hidden - seen.pixel_values).abs().amax(1)[0] > 0.1
    assert changed[14:22, 14:22].all() and not changed[30:].any() and not changed[:, 30:].any()
