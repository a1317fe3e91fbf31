"""The arithmetic of the Contrast tab: softmax, disagreement, correlation of maps, and the slider's scale."""

from __future__ import annotations

import numpy as np
import pytest

from vlm_demo.ui.tabs.contrast.contrast_table import Hidden, disagreement, mean_correlation, softmax
from vlm_demo.ui.tabs.contrast.map_panel import headline
from vlm_demo.ui.tabs.contrast.table_panel import place_of


def test_softmax_is_that_of_torch() -> None:
    import torch

    values = [0.31, -0.02, 0.28]
    wanted = (torch.tensor(values, dtype=torch.float64) / 0.018).softmax(0).tolist()
    assert softmax(values, 0.018) == pytest.approx(wanted, abs=1e-12)


def test_parting_is_where_the_two_order_texts_differently() -> None:
    assert disagreement([0.3, 0.2, 0.1], [0.9, 0.5, 0.1]) is None
    assert disagreement([0.3, 0.2, 0.1], [0.1, 0.5, 0.9]) == (0, 2)
    # Differences that are not visible in the shown figures are none.
    assert disagreement([0.3001, 0.3], [0.2, 0.9]) is None and disagreement([0.4, 0.3], [0.5, 0.504]) is None
    assert disagreement([], []) is None


def test_maps_are_alike_by_their_mean_correlation() -> None:
    ramp, hill = np.linspace(0, 1, 12).reshape(3, 4), np.eye(3, 4)
    assert mean_correlation([ramp, 2 * ramp]) == pytest.approx(1)
    assert mean_correlation([ramp, hill]) == pytest.approx(np.corrcoef(ramp.ravel(), hill.ravel())[0, 1])
    assert mean_correlation([ramp]) is None and mean_correlation([ramp, np.ones((3, 4))]) is None


def test_the_slider_is_even_in_logarithms() -> None:
    assert [round(place_of(value), 6) for value in (0.001, 0.01, 0.1, 1.0, 9.0)] == pytest.approx(
        [0, 100 / 3, 200 / 3, 100, 100], abs=1e-5
    )


def test_the_headline_follows_what_hiding_has_shown() -> None:
    assert "counts: without it" in headline(Hidden(0.3, 0.1, 0.28))
    assert "no more than the rest" in headline(Hidden(0.3, 0.28, 0.27))
    assert "no more than the rest" in headline(Hidden(0.21, 0.22, 0.24))  # hidden, the text fits better
