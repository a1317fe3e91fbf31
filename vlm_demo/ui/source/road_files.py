"""Road files: the files of the package that the page shows, and which function of each does a step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from vlm_demo.ui.source import listing

PATH = "source"  # below which the page's server shows them

# Part of the Learn tab → (file below the package, the function that does it).
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
    """The function that does a step: its file below the package, and its address below the page's own."""

    file: str
    link: str


@cache
def source(step: str) -> Source:
    """Where a step of ``STEPS`` is done."""
    file, symbol = STEPS[step]
    return Source(file, f"{PATH}/{file}#L{listing.line_of(listing.text_of(file), symbol)}")
