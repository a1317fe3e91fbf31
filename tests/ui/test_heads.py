"""The table of heads: every head once, its map where the model looked, and no page larger than a person can read."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.ui.test_inspector import pressed
from vlm_demo.images.overlay import palette
from vlm_demo.ui.tabs.inspect.panels import heads_panel, heatmap_panel


@pytest.mark.parametrize("shape", [(1, 1), (5, 4), (16, 16), (17, 16), (32, 40)])
def test_the_pages_hold_every_head_once_and_none_is_larger_than_a_page(shape):
    seen = np.zeros(shape, int)
    for layers, columns in heads_panel.blocks(*shape):
        assert len(layers) <= heads_panel.PAGE and len(columns) <= heads_panel.PAGE
        seen[layers.start : layers.stop, columns.start : columns.stop] += 1
    assert (seen == 1).all()


def test_each_small_map_has_its_peak_where_its_head_looks():
    maps = np.zeros((2, 3, 4, 5), np.float32)
    planted = {(i, j): ((i + j) % 4, (2 * i + j) % 5) for i in range(2) for j in range(3)}
    for (i, j), (row, column) in planted.items():
        maps[i, j, row, column] = 0.1 * (1 + i + j)
    drawn = np.asarray(heads_panel.sprite(maps, "viridis").convert("RGB"))
    assert drawn.shape == (2 * 4, 3 * 5, 3)
    for (i, j), (row, column) in planted.items():
        tile = drawn[i * 4 : i * 4 + 4, j * 5 : j * 5 + 5]
        assert (tile[row, column] == palette("viridis")[-1]).all()
        assert (tile.reshape(-1, 3) == palette("viridis")[0]).all(1).sum() == 4 * 5 - 1


def test_large_grids_are_averaged_and_no_cell_is_left_out():
    maps = np.random.default_rng(0).random((1, 1, 37, 24))
    small = heads_panel._averaged(heads_panel._averaged(maps, 2), 3)
    assert small.shape[2:] == (heads_panel.CELLS, heads_panel.CELLS)
    rows = np.diff(np.append(np.unique(np.arange(16) * 37 // 16), 37))
    columns = np.diff(np.append(np.unique(np.arange(16) * 24 // 16), 24))
    assert np.isclose((small[0, 0] * np.outer(rows, columns)).sum(), maps.sum())


def test_the_pressed_head_is_marked_and_named_and_tab_reaches_one_head():
    session = pressed(1)
    session.map_options.head = (0, 0)
    drawn = heatmap_panel.draw(session)
    assert len(re.findall('class="head"', drawn)) == 1
    assert re.search(r'class="head"[^>]*aria-pressed="true"(?! tabindex)', drawn)
    assert "layer 1, head 1" in drawn and "all heads" in drawn
