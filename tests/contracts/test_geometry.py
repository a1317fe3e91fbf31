"""Weights of tiles, thumbnails and line ends on the patches of one grid, against sums that are known."""

import numpy as np
import pytest

from vlm_demo.contracts.geometry import on_patches
from vlm_demo.models.patch_geometry import patch_grid, squashed, tile_by_tile

UPLOAD = (120, 60)


def test_tiles_are_put_where_they_lie() -> None:
    """Two tiles side by side, of 2 × 2 tokens each: tile after tile becomes row after row."""
    fine = patch_grid(squashed(UPLOAD, (48, 24)), (2, 4), tile_by_tile((1, 2), (2, 2)))
    weights = np.arange(8, dtype=np.float32)
    assert on_patches(weights, [fine]).tolist() == [0, 1, 4, 5, 2, 3, 6, 7]


def test_a_thumbnails_weight_is_spread_by_area_and_none_is_lost() -> None:
    fine = patch_grid(squashed(UPLOAD, (48, 24)), (2, 4), np.arange(8))
    thumbnail = patch_grid(squashed(UPLOAD, (24, 24)), (2, 2), np.arange(8, 12))
    weights = np.zeros((3, 12), np.float32)
    weights[0, 8], weights[1, 11], weights[2] = 1, 1, 1
    spread = on_patches(weights, [fine, thumbnail])
    assert spread[0].tolist() == [0.5, 0.5, 0, 0, 0, 0, 0, 0]
    assert spread[1].tolist() == [0, 0, 0, 0, 0, 0, 0.5, 0.5]
    assert spread[2].tolist() == pytest.approx([1.5] * 8)
    assert spread.sum(-1) == pytest.approx(weights.sum(-1))


def test_a_thumbnail_whose_patches_do_not_line_up() -> None:
    fine = patch_grid(squashed(UPLOAD, (30, 30)), (1, 3), np.arange(3))
    thumbnail = patch_grid(squashed(UPLOAD, (20, 20)), (1, 2), np.arange(3, 5))
    assert on_patches(np.array([0, 0, 0, 3, 0], np.float32), [fine, thumbnail]).tolist() == pytest.approx([2, 1, 0])


def test_line_ends_stand_for_no_place() -> None:
    fine = patch_grid(squashed(UPLOAD, (48, 24)), (2, 2), np.array([0, 1, 3, 4]))
    assert on_patches(np.array([1, 2, 99, 3, 4, 99], np.float32), [fine]).tolist() == [1, 2, 3, 4]
