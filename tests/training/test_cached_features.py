"""Cached features: rows are computed once, also over several runs, and anew for what is not the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vlm_demo.training.cached_features import kept


def test_it_goes_on_where_it_stopped_and_begins_anew_for_others(tmp_path: Path) -> None:
    asked: list[int] = []

    def rows_of(start: int, end: int) -> torch.Tensor:
        asked.append(start)
        if len(asked) == 200:
            raise KeyboardInterrupt
        return torch.full((end - start, 2), float(start))

    file, shape = tmp_path / "cache" / "rows.float16", (300, 2)
    with pytest.raises(KeyboardInterrupt):
        kept(file, ["a"], shape, torch.float16, rows_of, 1)
    assert len(asked) == 200
    rows = kept(file, ["a"], shape, torch.float16, rows_of, 1)
    assert asked[200] == 150 and (rows[:, 1] == torch.arange(300)).all()
    count = len(asked)
    assert (kept(file, ["a"], shape, torch.float16, rows_of, 1) == rows).all() and len(asked) == count
    assert kept(file, ["b"], (4, 2), torch.float16, rows_of, 1).shape == (4, 2) and asked[count:] == [0, 1, 2, 3]
