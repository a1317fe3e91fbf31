"""Step files: the source files that the page shows, and which function of each implements a step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from vlm_demo.ui.source import listing

PATH = "source"  # the path below which the page's server shows them

# Part of the Learn tab → (file below the package, the function that implements it).
STEPS = {
    "view": ("stages/view.py", "ViewMaker.__call__"),
    "ocr": ("stages/ocr.py", "OcrReader.__call__"),
    "encoder": ("stages/encoder.py", "Encoder.__call__"),
    "bridge": ("stages/bridge.py", "Bridge.__call__"),
    "prompt": ("stages/prompt.py", "PromptBuilder.__call__"),
    "llm": ("stages/llm.py", "Llm.__call__"),
    "whole": ("pipeline/generate_fallback.py", "GenerateFallback.write"),
    "explain": ("explain/heatmap.py", "draw"),
    "anatomy": ("explain/anatomy.py", "of"),
    "colours": ("ui/tabs/learn/principal.py", "axes_of"),
    "scores": ("runtime/scorer.py", "Scorer.similarities"),
    "losses": ("ui/tabs/learn/losses.py", "Contrast.loss"),
}
FILES = tuple(dict.fromkeys(file for file, _ in STEPS.values()))


@dataclass(frozen=True)
class Source:
    """The function that implements a step: its file below the package, and its address relative to the page's."""

    file: str
    link: str


@cache
def source(step: str) -> Source:
    """The source of a step of ``STEPS``."""
    file, symbol = STEPS[step]
    return Source(file, f"{PATH}/{file}#L{listing.line_of(listing.text_of(file), symbol)}")
