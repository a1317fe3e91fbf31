"""Pixels: what an embedded model's image processor does to a picture: padded to a square, resized, normalised."""

from __future__ import annotations

from typing import Any

from vlm_demo.models.builders.towers import Tower


def image_processor(tower: Tower, image_size: int) -> Any:
    """LLaVA's processor, which pads with the tower's mean colour, for a square of so many pixels."""
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    square = {"height": image_size, "width": image_size}
    return LlavaImageProcessorPil(
        do_pad=True,
        do_resize=True,
        size=square,
        do_center_crop=False,
        crop_size=square,
        resample=2,
        image_mean=list(tower.mean),
        image_std=list(tower.std),
    )
