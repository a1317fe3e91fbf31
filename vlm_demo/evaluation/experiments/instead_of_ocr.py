"""Can a VLM replace OCR? Words of many heights, read from the pixels alone, by OCR alone, and by both together.

Each picture is one word on white, at the size of an ordinary upload: OCR reads that, and the model a smaller
version, so that heights are given both in the upload's pixels and in the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_demo.checks.resolution import sight_of
from vlm_demo.contracts import Answer
from vlm_demo.contracts.engine import Engine, Request, answered
from vlm_demo.errors import UnsupportedModel
from vlm_demo.evaluation.answers import matches
from vlm_demo.evaluation.legibility import TOKENS
from vlm_demo.evaluation.report import with_interval
from vlm_demo.images.drawn_words import QUESTION, WORDS, drawn

SIZE = 1024, 1024  # of the uploads
HEIGHTS = (10, 14, 20, 28, 40, 56, 80, 112, 160)  # of the ink of capitals, in pixels of the upload
PIXELS, OCR, BOTH = "pixels alone", "OCR alone", "both"
COLOURS = {PIXELS: "#b5432c", OCR: "#2f6f8f", BOTH: "#35b779"}


@dataclass(frozen=True)
class InsteadOfOcrOutcome:
    """Which words were read: mode → height in the upload's pixels → the fraction of the words, 0..1.

    Attributes:
        words: how many at each height.
        shrunk: how many pixels of the upload are in one of the model's, along a side.
    """

    model: str
    shares: dict[str, dict[int, float]]
    words: int
    shrunk: float

    def overall(self, mode: str) -> float:
        """The fraction of all words, 0..1."""
        return sum(self.shares[mode].values()) / len(self.shares[mode])

    def sentence(self) -> str:
        """The result in one sentence."""
        pixels, ocr, both = (self.overall(mode) for mode in (PIXELS, OCR, BOTH))
        n = self.words * len(self.shares[PIXELS])
        text = (
            f"Of {n} words {self.model} read {with_interval(pixels, n)} from the pixels alone, OCR alone "
            f"{with_interval(ocr, n)}, and both together {with_interval(both, n)}"
        )
        if pixels >= ocr:
            return f"{text}: here the model replaces OCR."
        if both > ocr:
            return f"{text}: it can't replace OCR here, but it gets more out of a picture with it than OCR alone."
        return f"{text}: it can't replace OCR here."

    def table(self) -> str:
        """For a person."""
        modes = (PIXELS, OCR, BOTH)
        lines = ["height    for the model  " + "  ".join(f"{mode:>12}" for mode in modes)]
        for height in self.shares[PIXELS]:
            figures = "  ".join(f"{self.shares[mode][height]:>12.0%}" for mode in modes)
            lines.append(f"{height:>4} px  {height / self.shrunk:>11.1f} px  {figures}")
        return "\n".join([*lines, "", self.sentence()])

    def draw(self, file: Path) -> None:
        """Write the plot: the share read at each height, in each mode."""
        from matplotlib.figure import Figure

        figure = Figure((6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        for mode, marker in ((PIXELS, "o"), (OCR, "s"), (BOTH, "^")):
            heights = list(self.shares[mode])
            axes.plot(
                heights,
                [self.shares[mode][height] for height in heights],
                f"{marker}-",
                color=COLOURS[mode],
                label=mode,
            )
        axes.set(xscale="log", ylim=(-0.03, 1.03), ylabel="of the words")
        axes.set_xlabel(f"height of capitals in the upload, pixels (the model sees 1/{self.shrunk:.1f} of that)")
        axes.set_xticks(heights, map(str, heights))
        axes.minorticks_off()
        axes.legend(frameon=False)
        axes.set_title(f"Can it replace OCR? {self.model}, {self.words} words at each height", fontsize=11)
        figure.savefig(file, dpi=150)

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON-ready values."""
        shares = {
            mode: {str(height): share for height, share in by_height.items()} for mode, by_height in self.shares.items()
        }
        fields = {"model": self.model, "words": self.words, "shrunk": self.shrunk}
        return {**fields, "shares": shares, "sentence": self.sentence()}


def measure(
    engine: Engine, heights: Sequence[int] = HEIGHTS, report: Callable[[str], object] = lambda _: None
) -> InsteadOfOcrOutcome:
    """Read every word at every height, in each mode.

    Args:
        report: called with a line after each height.
    Raises:
        UnsupportedModel: what the model's processor makes of a picture is out of sight.
        OcrUnavailable: text can't be read here; says what to do.
    """
    shares: dict[str, dict[int, float]] = {mode: {} for mode in (PIXELS, OCR, BOTH)}
    shrunk = None
    for height in heights:
        right = dict.fromkeys(shares, 0)
        for word in WORDS:
            picture = drawn(word, height, SIZE)
            assert picture is not None  # the heights leave room for every word
            without_ocr, with_ocr = _answer_about(engine, picture, False), _answer_about(engine, picture, True)
            ocr_text = with_ocr.ocr.text if with_ocr.ocr else ""
            for mode, text in ((PIXELS, without_ocr.text), (OCR, ocr_text), (BOTH, with_ocr.text)):
                right[mode] += matches("name", text, [word])
            sight = sight_of(without_ocr.view)
            if sight is None:
                raise UnsupportedModel("What this model sees of a picture is out of sight: choose another one.")
            shrunk = sight.shrunk
        for mode in shares:
            shares[mode][height] = right[mode] / len(WORDS)
        report(f"{height} px: {', '.join(f'{mode} {by_height[height]:.0%}' for mode, by_height in shares.items())}")
    assert shrunk is not None
    return InsteadOfOcrOutcome(engine.name, shares, len(WORDS), shrunk)


def _answer_about(engine: Engine, picture: Any, ocr: bool) -> Answer:
    return answered(engine.stream(Request((picture,), QUESTION, ocr=ocr, max_new_tokens=TOKENS)))
