"""Patch labels are what is seen in the patch, whichever way a picture tells its things."""

import numpy as np
from PIL import Image

from vlm_demo.synthetic.world import TRAITS, Picture, Thing
from vlm_demo.training.patches import GRID, SHAPE_INDEX, patch_labels


def _box(x0, y0, x1, y1):
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=float)


def _picture(seen=None):
    image = Image.new("RGB", (GRID * 10, GRID * 10), "white")
    right = Thing("tab", "red", _box(100, 10, 130, 50), traits=("selected",))
    left = Thing("tab", "blue", _box(10, 10, 40, 50))
    return Picture("screens", image, (right, left, Thing("button", "green", _box(60, 80, 90, 110))), {}, seen)


def test_things_in_a_row_are_counted_off_from_the_left_and_traits_stay_with_their_thing():
    labels = patch_labels(_picture())
    at = lambda x, y: (y // 10) * GRID + x // 10  # noqa: E731
    assert labels.order[at(115, 30)] == 2 and labels.order[at(25, 30)] == 1 and labels.order[at(75, 95)] == 0
    selected = TRAITS.index("selected")
    assert labels.traits[at(115, 30), selected] == 1 and labels.traits[:, selected].sum() == (labels.order == 2).sum()
    assert labels.shape[at(75, 95)] == SHAPE_INDEX["button"] and labels.shape[at(5, 130)] == 0


def test_a_map_of_what_is_seen_goes_before_the_outlines():
    seen = np.zeros((GRID * 10, GRID * 10), int)
    seen[0:20, 0:20] = 3
    labels = patch_labels(_picture(seen))
    assert set(np.flatnonzero(labels.thing >= 0)) == {0, 1, GRID, GRID + 1}
    assert (labels.shape[labels.thing >= 0] == SHAPE_INDEX["button"]).all()
