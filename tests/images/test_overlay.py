"""Overlays: the picture stays where it is cold, and heat shows in order."""

import numpy as np
import pytest
from PIL import Image

from vlm_demo.images.overlay import COLORMAPS, overlay, palette

PICTURE = Image.effect_noise((60, 40), 80).convert("RGB")
RAMP = np.tile(np.linspace(0, 1, 60, dtype=np.float32), (40, 1))


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_cold_is_the_picture_and_hot_is_the_colour(colormap: str) -> None:
    drawn = np.asarray(overlay(PICTURE, RAMP, 1.0, colormap)).astype(int)
    picture = np.asarray(PICTURE).astype(int)
    assert drawn.shape == (40, 60, 3)
    assert np.array_equal(drawn[:, 0], picture[:, 0])
    assert len(np.unique(drawn[:, -1], axis=0)) == 1
    difference = np.abs(drawn - picture).mean((0, 2))
    assert difference[40:].mean() > difference[:20].mean()


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_more_heat_is_always_lighter(colormap: str) -> None:
    drawn = np.asarray(overlay(Image.new("RGB", (60, 40)), RAMP, 1.0, colormap).convert("L"))[0].astype(int)
    assert (np.diff(drawn) >= -1).all() and drawn[-1] > drawn[20]


def test_opacity_zero_is_the_picture() -> None:
    assert np.array_equal(np.asarray(overlay(PICTURE, RAMP, 0.0)), np.asarray(PICTURE))


def test_a_grid_by_counts_or_by_boxes() -> None:
    plain = np.asarray(overlay(PICTURE, RAMP)).astype(int)
    by_counts = np.asarray(overlay(PICTURE, RAMP, grid=(4, 6))).astype(int)
    assert (by_counts[:, 10] - plain[:, 10]).mean() > 10
    assert np.array_equal(by_counts[5, 11:20], plain[5, 11:20])
    boxes = np.array([[20, 0, 40, 40]], np.float32)
    by_boxes = np.asarray(overlay(PICTURE, RAMP, grid=boxes)).astype(int)
    assert (by_boxes[:, 20] - plain[:, 20]).mean() > 10
    assert np.array_equal(by_boxes[:, :20], plain[:, :20])


def test_misfits_are_refused() -> None:
    with pytest.raises(ValueError, match="jet"):
        overlay(PICTURE, RAMP, colormap="jet")
    with pytest.raises(ValueError, match="heatmap"):
        overlay(PICTURE, RAMP.T)


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_the_colours_are_matplotlibs(colormap: str) -> None:
    from matplotlib import colormaps

    expected = (colormaps[colormap](np.arange(256))[:, :3] * 255).round()
    assert np.array_equal(palette(colormap), expected)
