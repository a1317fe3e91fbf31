"""Where each feature lies, in families whose tokens are tested elsewhere."""

from pathlib import Path

import numpy as np
import torch

from tests.kit.tiny import tiny_clip, tiny_idefics, tiny_siglip
from tests.models.adapters.parity import Placed
from vlm_demo import Pipeline
from vlm_demo.contracts import HeatmapSettings, Trace, View


class TestIdefics(Placed):
    """Padded to a square; the words look at the CLS token too, which is no patch."""

    @staticmethod
    def make(folder: Path) -> Path:
        return tiny_idefics(folder)


class Comparing(Placed):
    """Families that write nothing: what their maps are made of is the encoder's features."""

    @staticmethod
    def tokens(pipe: Pipeline, views: list[View]) -> torch.Tensor:
        return pipe.scoring.encoder(views).features.flatten(0, 1)

    def on_patches(self, pipe: Pipeline, views: list[View], moved: np.ndarray) -> list[np.ndarray]:
        count = len(moved) // len(views)
        trace = Trace(moved, None, None, (count,) * len(views), pipe.scoring.family.leading_tokens, HeatmapSettings())
        return [trace.on_patches(moved, i) for i in range(len(views))]


class TestClip(Comparing):
    @staticmethod
    def make(folder: Path) -> Path:
        return tiny_clip(folder)


class TestSiglip(Comparing):
    @staticmethod
    def make(folder: Path) -> Path:
        return tiny_siglip(folder)
