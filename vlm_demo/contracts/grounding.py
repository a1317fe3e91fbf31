"""Grounding: an answer's badge, the levels that it can have, and the evidence that it is given by."""

from __future__ import annotations

from dataclasses import dataclass

from vlm_demo.contracts.ocr import ReadWord

GROUNDED, READ, WEAK, NOT_VISIBLE = "grounded", "read", "weak", "not visible"
NOT_ABOUT = "not about the picture"
LEVELS = {
    GROUNDED: "Rests on the picture",
    READ: "Rests on text read",
    WEAK: "Rests weakly",
    NOT_VISIBLE: "Not visible",
    NOT_ABOUT: "Not about the picture",
}
GREEN = (GROUNDED, READ)


@dataclass(frozen=True)
class Grounding:
    """One answer's badge.

    Attributes:
        level: a key of ``LEVELS``.
        score: 0..1, where the checkpoint is calibrated the probability that the answer is right and visible.
        drop: 0..1, how much of the answer's probability is lost with the attended patches; None where nothing was
            tried.
        share: 0..1, the attention on the pictures; None where that is unknown.
        match: 0..1, how well the answer fits the picture; None where the model can't compare.
        sentence: why, for a person.
        text_drop: 0..1, how much is lost with the words that OCR read; None where the answer repeats none.
        quote: the words that OCR read and the answer repeats, once, as they were read; empty likewise.
        words: the same at every place at which they were read, with their boxes; empty likewise.
    """

    level: str
    score: float
    drop: float | None
    share: float | None
    match: float | None
    sentence: str
    text_drop: float | None = None
    quote: str = ""
    words: tuple[ReadWord, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """The evidence for an answer, each 0..1. Those in ``checks.calibration.NAMES`` go into the score; all decide the
    badge.

    Attributes:
        hot: how much of the probability of an average token is lost when the hottest patches of the default map are
            hidden behind a blur.
        elsewhere: the same with as many other patches, drawn by chance.
        whole: the same with the whole picture.
        certain: the probability of an average token (geometric mean).
        share: how much of the attention went to the pictures; 0 where that is unknown.
        match: how well the answer fits the picture, by the model's part that compares the two; 0 where it has none.
        read: how many of the answer's words stand in the text that was read off the picture (OCR).
        text: how much of the probability of an average token of the words that the answer repeats of that text falls
            away when just these words are taken out of it, wherever they stand, and the pictures are kept; 0 where the
            answer repeats none.
        other: the same with as many other words of it, drawn by chance.
        yes_no, number: 1 where the answer is yes, no, true or false, or a number: such answers are right by chance
            more often than words are, and models are more confident of them.
        blank: how much the probability of an average token changes, up or down, when all pictures have their mean
            colour, and none of the text is given.
        turned, text_turned, blank_turned: whether another token becomes the likeliest, so that the answer is another
            one: under ``hot``, ``text`` and ``blank``. Only tokens that had more than half of the probability count.
    """

    hot: float
    elsewhere: float
    whole: float
    certain: float
    share: float = 0.0
    match: float = 0.0
    read: float = 0.0
    text: float = 0.0
    other: float = 0.0
    yes_no: float = 0.0
    number: float = 0.0
    blank: float = 1.0
    turned: bool = False
    text_turned: bool = False
    blank_turned: bool = False
