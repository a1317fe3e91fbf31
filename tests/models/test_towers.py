"""A tower's weight file is opened as tensors alone: what else it may hold is never executed."""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.kit import composed
from vlm_demo.errors import UnsupportedModel
from vlm_demo.models.builders import towers


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.file), "w")


def plain(state: dict[str, Any]) -> bytes:
    """A state dict as a pickle alone."""
    return pickle.dumps(state, protocol=2)


def zipped(state: dict[str, Any]) -> bytes:
    """A state dict as PyTorch writes it, a pickle in a ZIP archive."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("written", [plain, zipped])
def test_a_hostile_pickle_is_refused_without_being_executed(
    written: Callable[[dict[str, Any]], bytes], tmp_path: Path
) -> None:
    created, weights = tmp_path / "created", tmp_path / "tower.pth"
    weights.write_bytes(written({**composed.published(), "_fc.bias": Hostile(created)}))
    with pytest.raises(UnsupportedModel, match=r"tower\.pth is damaged"):
        towers.read(composed.TOWER, weights, 64)
    assert not created.exists()
    with contextlib.suppress(RuntimeError):  # what is no archive is refused after it was executed
        torch.load(weights, weights_only=False)
    assert created.exists(), "the file is not hostile, so its refusal says nothing"
