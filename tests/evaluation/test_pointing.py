"""The pointing game on maps whose maximum was planted."""

import numpy as np

from vlm_demo.evaluation.pointing import hit, hottest


def planted(x: int, y: int) -> np.ndarray:
    heatmap = np.zeros((100, 400), np.float32)
    heatmap[y, x] = 1
    return heatmap


def test_the_hottest_pixel_is_x_then_y() -> None:
    assert hottest(planted(390, 21)) == (390, 21)


def test_boxes_hold_their_first_edges_and_not_their_last() -> None:
    box = [(390, 21, 400, 31)]
    assert hit(planted(390, 21), box) and hit(planted(399, 30), box)
    assert not hit(planted(389, 21), box) and not hit(planted(390, 31), box)


def test_any_box_will_do() -> None:
    assert hit(planted(5, 5), [(100, 0, 110, 10), (0, 0, 10, 10)])


def test_a_map_without_a_maximum_points_nowhere() -> None:
    everywhere = [(0, 0, 400, 100)]
    assert not hit(np.ones((100, 400), np.float32), everywhere)
    assert not hit(np.full((100, 400), np.nan, np.float32), everywhere)
