"""Cached features: rows are computed once, also over several runs, and again for other sources."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vlm_demo.training.cached_features import cached_rows


def test_it_goes_on_where_it_stopped_and_starts_over_for_other_sources(tmp_path: Path) -> None:
    computed: list[int] = []

    def compute_rows(start: int, end: int) -> torch.Tensor:
        computed.append(start)
        if len(computed) == 200:
            raise KeyboardInterrupt
        return torch.full((end - start, 2), float(start))

    file, shape = tmp_path / "cache" / "rows.float16", (300, 2)
    with pytest.raises(KeyboardInterrupt):
        cached_rows(file, ["a"], shape, torch.float16, compute_rows, 1)
    assert len(computed) == 200
    rows = cached_rows(file, ["a"], shape, torch.float16, compute_rows, 1)
    assert computed[200] == 150 and (rows[:, 1] == torch.arange(300)).all()
    count = len(computed)
    assert (cached_rows(file, ["a"], shape, torch.float16, compute_rows, 1) == rows).all() and len(computed) == count
    assert cached_rows(file, ["b"], (4, 2), torch.float16, compute_rows, 1).shape == (4, 2) and computed[count:] == [
        0,
        1,
        2,
        3,
    ]
