"""Generate only: a model whose class is unknown here. It answers through its own processor and ``generate``.

There are no stages to inspect, so there are no heatmaps; its ``bridge_info`` tells the person so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vlm_demo.contracts import BridgeInfo, View
from vlm_demo.errors import UnsupportedModel
from vlm_demo.models.patch_geometry import Cut, patch_grid, squashed


class GenerateOnly:
    """Adapter of whatever ``AutoModelForImageTextToText`` loads; has what ``pipeline.whole`` needs and no more."""

    name = "whole"
    writes = True
    as_a_whole = True
    matcher = None
    fallback_template = ""
    leading_tokens = 0
    trust_remote_code = False
    # Which of its parts is the language model is not known, but these are what most call the others.
    keep_unquantized = (
        "model.vision_tower",
        "model.vision_model",
        "model.visual",
        "model.multi_modal_projector",
        "model.connector",
        "lm_head",
    )

    def __init__(self, model: Any, folder: Path, tokenizer: Any) -> None:
        from transformers import AutoProcessor

        self.model, self.config = model, model.config
        lists = (module for module in model.modules() if isinstance(module, torch.nn.ModuleList))
        self.encoder_layers = [layer for layers in lists for layer in layers]
        kind = type(model).__name__
        self.bridge_info = BridgeInfo(
            "whole",
            f"{kind} can't be taken apart here: it answers in one piece, without its stages and without heatmaps",
        )
        try:
            self.processor = AutoProcessor.from_pretrained(
                folder, trust_remote_code=self.trust_remote_code, backend="pil"
            )
        except Exception as error:  # missing files, missing packages, damaged settings: one meaning
            raise UnsupportedModel(
                f"{kind} can't be taken apart here, and its processor can't be built ({_short(error)}): install "
                "what it asks for, or choose another model."
            ) from error

    @staticmethod
    def model_class() -> Any:
        from transformers import AutoModelForImageTextToText

        return AutoModelForImageTextToText

    @staticmethod
    def check(config: Any) -> None:
        """Whatever can be loaded is tried."""

    def cut(self, processor: Any, image: Image.Image) -> Cut:
        """The upload as it is: only its processor knows what the model gets of it."""
        place = squashed(image.size, image.size)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
        return Cut(pixels[None], pixels, (patch_grid(place, (1, 1)),), place)

    def placeholders(self, view: View) -> View:
        """The picture itself, for its processor."""
        return view


class Trusted(GenerateOnly):
    """A model whose class comes with its checkpoint, run because a person asked for it."""

    trust_remote_code = True


def _short(error: Exception) -> str:
    """The first line of an error's message, or its class."""
    return next((line.strip()[:120] for line in str(error).splitlines() if line.strip()), type(error).__name__)
