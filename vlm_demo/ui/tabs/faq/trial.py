"""Trial: a small version of an experiment, on the visitor's picture or on a few drawn ones. Asks an engine a few
questions; knows neither HTML nor the chat."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vlm_demo.checks import hallucination
from vlm_demo.contracts.engine import Engine, Request, answered
from vlm_demo.engines import live_checks
from vlm_demo.images.drawn_words import QUESTION, drawn

if TYPE_CHECKING:
    from PIL import Image

    from vlm_demo.contracts import Answer

WRONG, OCR = "wrong", "ocr"  # those that can be tried here
SIZE = (1024, 1024)
DRAWN = (("MILK", 20), ("HOTEL", 56), ("TAXI", 160))  # word, height of its letters in pixels of SIZE
TOKENS = 24
NOT_KNOWN = "not told"  # of a probability


@dataclass(frozen=True)
class TrialRow:
    """One answer.

    Attributes:
        about: what was asked, in a few words.
        answer: the answer, or the text read.
        figure: its probability, or whether it is right.
        picture: the picture asked about; None where the row before shows it.
    """

    about: str
    answer: str
    figure: str = ""
    picture: Image.Image | None = None


@dataclass(eq=False)
class Trial:
    """An experiment being tried.

    Attributes:
        name: WRONG or OCR.
        rows: the answers so far.
        finding: the result, in one sentence, once it is done.
        doing: the current step.
        state: ``waiting``, ``running``, ``done``, ``stopped`` or ``failed``; ``problem`` says why it failed.
        started: whether it has been handed to the model's queue, where it may wait.
    """

    name: str
    rows: list[TrialRow] = field(default_factory=list)
    finding: str = ""
    doing: str = "Waiting for the model"
    state: str = "waiting"
    started: bool = False
    problem: str = ""
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def running(self) -> bool:
        return self.state in ("waiting", "running")


def wrong(engine: Engine, request: Request, trial: Trial) -> Generator[None, None, None]:
    """Ask the visitor's question as it is, about grey pictures, and with the evidence-only rule; yields before each
    step.

    Raises:
        BadImage, BadQuestion, OcrUnavailable, VlmDemoError: as an engine's ``stream`` does.
        Stopped: ``request.cancelled()`` turned True.
    """
    trial.state, trial.doing = "running", "Asking your question"
    yield
    answer = _answered(engine, replace(request, evidence_only=False))
    trial.rows.append(TrialRow("your picture", answer.text, picture=answer.views[-1].image))
    trial.doing = "Asking it about a grey picture"
    yield
    blank = live_checks.about_blank(engine, answer, request.cancelled)
    if blank.with_picture is not None:
        trial.rows[0] = replace(trial.rows[0], figure=f"probability {blank.with_picture:.2f}")
    probability = NOT_KNOWN if blank.with_blank is None else f"{blank.with_blank:.2f}"
    trial.rows.append(TrialRow("a grey picture", blank.text, f"probability of the first answer there {probability}"))
    trial.doing = "Asking it with the evidence-only rule"
    yield
    ruled = _answered(engine, replace(request, evidence_only=True))
    trial.rows.append(TrialRow("your picture, with the evidence-only rule", ruled.text))
    trial.finding = hallucination.check(False, answer.text, None, blank, answer.unfinished).why
    trial.state = "done"


def ocr(engine: Engine, visitor_request: Request | None, trial: Trial) -> Generator[None, None, None]:
    """Read words from the pixels alone, by OCR alone, and by both: a few drawn ones, and the text in the visitor's
    picture, if there is one; yields before each step.

    Args:
        visitor_request: the visitor's question; gives picture, languages, and whether to stop.
    Raises:
        as `wrong`.
    """
    trial.state = "running"
    base = visitor_request or Request((), QUESTION)
    right = [0, 0, 0]
    for word, height in DRAWN:
        picture = drawn(word, height, SIZE)
        assert picture is not None
        request = replace(base, images=(picture,), history=(), question=QUESTION, max_new_tokens=TOKENS)
        texts = yield from _read_each_way(engine, request, f"{word}, {height} px high", trial)
        for way, text in enumerate(texts):
            found = reads(word, text)
            right[way] += found
            place = len(trial.rows) - 3 + way
            trial.rows[place] = replace(trial.rows[place], figure="right" if found else "wrong")
    if visitor_request and visitor_request.images:
        request = replace(visitor_request, question=QUESTION, history=(), max_new_tokens=TOKENS)
        yield from _read_each_way(engine, request, "your picture", trial)
    pixels, alone, both = (f"{count} of {len(DRAWN)}" for count in right)
    trial.finding = f"Of the drawn words the model read {pixels} by itself, OCR {alone}, and the two together {both}."
    trial.state = "done"


def _read_each_way(
    engine: Engine, request: Request, about: str, trial: Trial
) -> Generator[None, None, tuple[str, str, str]]:
    trial.doing = f"Reading {about} from the pixels"
    yield
    alone = _answered(engine, replace(request, ocr=False, evidence_only=False))
    trial.rows.append(TrialRow(f"{about}: pixels alone", alone.text, picture=alone.views[-1].image))
    trial.doing = f"Reading {about} with OCR"
    yield
    both = _answered(engine, replace(request, ocr=True, evidence_only=False))
    read = both.ocr.text if both.ocr else ""
    trial.rows += [TrialRow("OCR alone", read or "nothing"), TrialRow("both", both.text)]
    return alone.text, read, both.text


def reads(word: str, text: str) -> bool:
    """Whether a text contains this word."""
    return word.lower() in re.findall(r"\w+", text.lower())


def _answered(engine: Engine, request: Request) -> Answer:
    return answered(engine.stream(request))
