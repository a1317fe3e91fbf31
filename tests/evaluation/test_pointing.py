"""The pointing game on maps whose maximum was planted."""

import numpy as np
import pytest

from vlm_demo.evaluation.pointing import area, area_under_curve, fractions, hidden, hit, hottest, iou, otsu


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


def test_boxes_become_the_pixels_whose_centre_they_hold() -> None:
    mask = area([(1, 0, 3, 1.6), (4.4, 0, 9, 9)], (6, 3))
    assert mask.astype(int).tolist() == [[0, 1, 1, 0, 1, 1], [0, 1, 1, 0, 1, 1], [0, 0, 0, 0, 1, 1]]


def test_otsu_parts_two_classes_between_them() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.2, 0.03, 900), rng.normal(0.8, 0.03, 100)]).clip(0, 1)
    assert 0.3 < otsu(values[None]) < 0.7
    levels = np.linspace(0.005, 0.995, 100)
    within = [  # the definition, by trying every threshold
        (values <= t).sum() * np.var(values[values <= t]) + (values > t).sum() * np.var(values[values > t])
        for t in levels
        if (values <= t).any() and (values > t).any()
    ]
    found = otsu(values[None])
    variance = (values <= found).sum() * np.var(values[values <= found]) + (values > found).sum() * np.var(
        values[values > found]
    )
    assert variance <= min(within) * 1.01


def test_the_overlap_of_the_hot_part() -> None:
    heatmap = np.full((10, 10), 0.1, np.float32)
    heatmap[2:6, 2:6] = 0.9
    mask = area([(2, 2, 6, 10)], (10, 10))
    assert iou(heatmap, mask) == 0.5
    assert iou(np.ones((10, 10), np.float32), mask) == 0 and iou(np.zeros((10, 10), np.float32), mask) == 0


def test_the_hottest_patches_are_hidden_first_and_come_back_first() -> None:
    cells = np.array([0.1, 0.9, 5.0, 0.5, 0.3])
    inside = np.array([True, True, False, True, True])  # the hottest is padding
    deletion, insertion = hidden(cells, inside, 1)
    assert deletion.astype(int).tolist() == [[0, 1, 0, 0, 0]]
    assert insertion.astype(int).tolist() == [[1, 0, 0, 1, 1]]
    deletion, insertion = hidden(np.arange(100.0), np.ones(100, bool), 3)
    assert deletion.sum(1).tolist() == [7, 25, 57] and (~insertion).sum(1).tolist() == [7, 25, 57]
    assert deletion[0, 93:].all() and not insertion[0, 93:].any()


def test_the_area_under_a_curve_by_hand() -> None:
    x = fractions(1)
    assert x.tolist() == [0, 0.25, 1]
    assert area_under_curve(x, [1.0, 0.2, 0.0]) == pytest.approx(0.25 * 0.6 + 0.75 * 0.1)
    assert area_under_curve(fractions(7), [0.5] * 9) == pytest.approx(0.5)
