"""Legibility: words of many heights on white → the height from which on a model reads them, without OCR.

The pictures have the size that the encoder expects, so that a pixel of theirs is one of the model's. Every word is
shown at every height.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image

from vlm_demo.checks.resolution import sight_of
from vlm_demo.contracts import Answer
from vlm_demo.contracts.engine import Engine, Request, answered
from vlm_demo.errors import UnsupportedModel
from vlm_demo.evaluation.answers import matches
from vlm_demo.images.drawn_words import QUESTION, WORDS, drawn

HEIGHTS = (7, 9, 12, 16, 24, 32, 48, 64)
ENOUGH = 0.5  # of the words
TOKENS = 16


@dataclass(frozen=True)
class Legibility:
    """Which words a model read: height in its own pixels → the fraction of the words, 0..1; ``words`` at each
    height."""

    shares: dict[int, float]
    words: int

    @property
    def reads_from(self) -> float:
        """The lowest height from which on, at every larger one too, at least half of the words were read; inf where
        there is none."""
        lowest = math.inf
        for height in sorted(self.shares, reverse=True):
            if self.shares[height] < ENOUGH:
                break
            lowest = height
        return lowest

    def table(self) -> str:
        """For a person."""
        lines = ["height  words read", *(f"{height:>4} px  {share:>9.0%}" for height, share in self.shares.items())]
        return "\n".join(
            [*lines, "it reads none" if math.isinf(self.reads_from) else f"reads from {self.reads_from} px"]
        )


def measure(engine: Engine) -> Legibility:
    """Ask an engine about every word at every height that fits its picture.

    Raises:
        UnsupportedModel: what the model's processor makes of a picture is out of sight.
    """
    sight = sight_of(_answer_about(engine, Image.new("RGB", (336, 336), "white")).view)
    if sight is None:
        raise UnsupportedModel("What this model sees of a picture is out of sight: choose one whose stages are known.")
    size = sight.tile_width, sight.tile_height
    shares = {}
    for height in HEIGHTS:
        pictures = [(word, drawn(word, height, size)) for word in WORDS]
        answers = [(word, _answer_about(engine, picture).text) for word, picture in pictures if picture]
        if len(answers) == len(WORDS):
            shares[height] = sum(matches("name", text, [word]) for word, text in answers) / len(answers)
    return Legibility(shares, len(WORDS))


def _answer_about(engine: Engine, picture: Image.Image) -> Answer:
    return answered(engine.stream(Request((picture,), QUESTION, max_new_tokens=TOKENS)))
