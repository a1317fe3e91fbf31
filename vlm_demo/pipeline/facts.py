"""Facts: what the stages made, as numbers for their events."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_demo.contracts import OcrResult, PatchFeatures, Prompt
from vlm_demo.contracts.events import EncoderFacts, PromptFacts, ViewFacts
from vlm_demo.models.adapters import Family
from vlm_demo.runtime.pixel_view import PixelView


def view_facts(views: Sequence[PixelView]) -> ViewFacts:
    """The sizes of the uploads and of the tiles made of them."""
    return ViewFacts(tuple(view.size for view in views), tuple(_tiles(view) for view in views))


def prompt_facts(prompt: Prompt, ocrs: Sequence[OcrResult]) -> PromptFacts:
    """How the prompt's tokens are shared between pictures and text, and what it lacks of the text that was read."""
    left_out = sum(result.left_out for result in ocrs)
    return PromptFacts(prompt.image_tokens, len(prompt.ids) - prompt.image_tokens, left_out)


def encoder_facts(
    family: Family,
    views: Sequence[PixelView],
    patches: Sequence[PatchFeatures],
    cached: int,
    overlaps_ocr: bool = False,
) -> EncoderFacts:
    """The shapes and bytes of the patch features, of which ``cached`` pictures were cached; ``overlaps_ocr`` says
    whether they were made while text was read."""
    return EncoderFacts(
        tiles=tuple(tile for view in views for tile in _tiles(view)),
        features=tuple(tuple(picture.features.shape[1:]) for picture in patches for _ in picture.features),
        leading=family.leading_tokens,
        pictures=len(patches),
        cached=cached,
        bytes=sum(picture.features.nbytes for picture in patches),
        overlaps_ocr=overlaps_ocr,
    )


def _tiles(view: PixelView) -> tuple[tuple[int, int], ...]:
    """(width, height) of each tile of one picture."""
    height, width = view.pixel_values.shape[-2:]
    return ((width, height),) * len(view.pixel_values)
