"""Fixtures for all tests: tiny checkpoints, made once, and pictures to ask about."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

# Before transformers is imported: no test may depend on a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import pytest
from PIL import Image

from tests.kit.tiny import tiny_llava
from vlm_demo import Pipeline
from vlm_demo.models import quantization


def pytest_collection_finish() -> None:
    """What was imported stays: garbage collections need not go through its millions of objects each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def bf16_as_stored() -> Iterator[None]:
    """Checkpoints in bf16 are loaded as such on every processor, also on those where float32 is faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantization, "fast_bf16", lambda _device: True)
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA with random weights: squashes to 48 × 48 pixels, 4 × 4 patches."""
    return tiny_llava(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def pipe(checkpoint: Path) -> Pipeline:
    return Pipeline.from_pretrained(checkpoint)


@pytest.fixture(scope="session")
def noise():
    """A function (width, height, seed) → a picture of coarse colour noise."""

    def make(width: int, height: int, seed: int = 0) -> Image.Image:
        coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST)

    return make
