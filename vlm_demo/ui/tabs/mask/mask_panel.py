"""Mask: a question, its answer, and the answer without a part of the picture → HTML. Computes what its templates show;
knows no events and no model."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from vlm_demo.contracts import View
from vlm_demo.images.hide import WAYS
from vlm_demo.ui import pictures
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.compare.difference import SAME, DiffWord, between
from vlm_demo.ui.tabs.inspect.panels.html_pieces import nothing, percent
from vlm_demo.ui.tabs.mask.masked_answer import Change, MaskedAnswer

EMPTY = "Ask about a picture in Chat first; then hide a part of it here, and see what the answer was worth without it."
CELLS = 256  # along a picture's longer side
EVEN = 1.1  # probabilities within this ratio count as equal


@dataclass(frozen=True)
class WordRow:
    """A word of the first answer: its probability with the whole picture and without the hidden part, as numbers and as
    percent of a bar."""

    text: str
    whole: str
    without: str
    whole_width: str
    without_width: str
    fell: bool


def draw(turn: ChatTurn | None, masked: MaskedAnswer | None) -> Markup:
    """The question, its answer, the answer without what was drawn over, and the change of probability."""
    if turn is None or not turn.answer:
        return nothing(EMPTY, "Chat")
    again = masked if masked and masked.answer and not masked.running else None
    first = [word.text for word in turn.answer.words]
    other = again.answer if again else None
    pieces = between(first, [word.text for word in other.words]).pieces if other else []
    change = again.change if again else None
    return render(
        "mask",
        question=turn.question,
        first=[DiffWord(SAME, text, i) for i, text in enumerate(first)],
        second=pieces,
        answered=again is not None,
        difference=between(first, [word.text for word in other.words]).summary if other else "",
        stopped=again is not None and again.state == "stopped",
        seen=pictures.data_uri(pictures.shrunk(again.seen, pictures.PREVIEW)) if again and again.seen else "",
        share=percent(again.share) if again else "",
        headline=headline(change) if change else "",
        whole=f"{change.whole:.2f}" if change else "",
        without=f"{change.without:.2f}" if change else "",
        words=_rows(change) if change else [],
        problem=masked.problem if masked else "",
    )


def headline(change: Change) -> str:
    """The effect of hiding on the first answer, in a sentence."""
    ratio = change.whole / max(change.without, 1e-9)
    if max(ratio, 1 / max(ratio, 1e-9)) < EVEN:
        return "The first answer is as likely without what you hid."
    if ratio < 1:
        return f"A token of the first answer is {1 / ratio:.1f} times likelier without what you hid."
    return f"A token of the first answer is {ratio:.1f} times less likely without what you hid."


def _rows(change: Change) -> list[WordRow]:
    return [
        WordRow(
            word.text,
            f"{word.whole:.2f}",
            f"{word.without:.2f}",
            f"{100 * word.whole:.1f}",
            f"{100 * word.without:.1f}",
            word.whole > EVEN * word.without,
        )
        for word in change.words
    ]


def start(turn: ChatTurn | None, picture: int, way: str, running: bool = False, problem: str = "") -> Markup:
    """How it is hidden, which picture is drawn over, and the button that asks again; empty without an answer.

    Args:
        problem: a sentence, until the next press.
    """
    count = len(turn.answer.views) if turn and turn.answer else 0
    return render(
        "mask_start",
        ready=count > 0,
        ways=[(name, name.capitalize()) for name in WAYS],
        way=way,
        pictures=[(number, number + 1) for number in range(count)],
        picture=picture,
        running=running,
        problem=problem,
    )


def paper(turn: ChatTurn | None, picture: int) -> Markup:
    """The picture that is drawn over; empty without an answer."""
    if turn is None or not turn.answer:
        return Markup()
    view = turn.answer.views[picture]
    width, height = shape(view)
    return render(
        "mask_paper",
        key=f"{turn.ticket}-{picture}",
        source=pictures.data_uri(view.image),
        ratio=f"{view.size[0] / view.size[1]:.4f}",
        width=width,
        height=height,
    )


def shape(view: View) -> tuple[int, int]:
    """(width, height) of the mask for a picture, in cells."""
    scale = CELLS / max(view.size)
    return max(1, round(view.size[0] * scale)), max(1, round(view.size[1] * scale))


def live(masked: MaskedAnswer | None) -> Markup:
    """The progress; empty when nothing is being computed."""
    if masked is None or not masked.running:
        return Markup()
    if masked.stop.is_set():
        doing = "Stopping"
    elif masked.state == "waiting":
        doing = "Waiting for the model"
    elif masked.answer:
        doing = "Reading the first answer with the picture whole and without"
    else:
        doing = "Asking again without what was drawn over"
    return render("compare_live", doing=doing, stages=0, done=0, text=masked.answer_text)
