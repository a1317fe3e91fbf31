"""Stage words: a stage event's facts → the few words that the page shows next to its time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vlm_demo.contracts import StageEvent
from vlm_demo.contracts.events import (
    BridgeFacts,
    CompareFacts,
    DecodeFacts,
    EncoderFacts,
    OcrFacts,
    PrefillFacts,
    PromptFacts,
    Shape,
    TextsFacts,
    ViewFacts,
)


def detail(event: StageEvent) -> str:
    """A stage's shapes, e.g. ``168×168 → 196×192``, and after a comma further facts."""
    match event.facts:
        case ViewFacts(uploads, tiles):
            return ", ".join(f"{_by(size)} → {_times(shapes)}" for size, shapes in zip(uploads, tiles, strict=True))
        case OcrFacts(words, pictures, cached):
            return f"{words} word{'s' * (words != 1)}{_from_memory(cached, pictures)}"
        case PromptFacts(image_tokens, text_tokens, left_out):
            cut = f", {left_out} word{'s' * (left_out != 1)} of the picture left out" if left_out else ""
            return f"{image_tokens} image + {text_tokens} text tokens{cut}"
        case EncoderFacts(tiles, features, leading, pictures, cached, overlaps_ocr=while_reading):
            whole = f", {leading} of them for the whole picture" if leading else ""
            when = ", while text was read" if while_reading else ""
            return f"{_times(tiles)} → {_times(features)}{whole}{_from_memory(cached, pictures)}{when}"
        case BridgeFacts(features, tokens, bridge, pictures, cached):
            return f"{_times(features)} → {_times(tokens)}, {bridge.text}{_from_memory(cached, pictures)}"
        case PrefillFacts(tokens, cached, sees_ahead):
            if sees_ahead:
                return f"{tokens} tokens, always all of them: each sees those after it"
            return f"{tokens} tokens" + (f", {cached} of them from memory" if cached else "")
        case DecodeFacts(tokens, cut):
            return f"{tokens} token{'s' * (tokens != 1)}" + (f", {cut} of them cut off" if cut else "")
        case TextsFacts(texts, tokens):
            return f"{texts} × {tokens} tokens"
        case CompareFacts(features, texts, together):
            return (
                f"{_by(features)} and each of {texts} texts together"
                if together
                else f"{_by(features)} with {texts} texts"
            )
    return ""


def _times(shapes: Sequence[Shape]) -> str:
    """The same shapes together, e.g. ``2 × 4×64 + 9×64``."""
    counts = Counter(_by(shape) for shape in shapes)
    return " + ".join(f"{count} × {shape}" if count > 1 else shape for shape, count in counts.items())


def _from_memory(cached: int, pictures: int) -> str:
    """How many of the pictures came from a cache, in words."""
    return "" if not cached else ", from memory" if cached == pictures else f", {cached} of {pictures} from memory"


def _by(shape: Shape) -> str:
    return "×".join(str(length) for length in shape)
