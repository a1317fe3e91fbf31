"""Panels: one answer and its anatomy → the HTML of the tab's parts. Computes what the templates show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from vlm_demo.contracts.anatomy import TEMPERATURES
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.source.step_files import source
from vlm_demo.ui.tabs.learn import losses, stage_cards, thumbnails
from vlm_demo.ui.tabs.learn.anatomy_summary import Patches, token_of
from vlm_demo.ui.tabs.learn.lens_panel import WAITING, not_yet, rounded, shown

if TYPE_CHECKING:
    from vlm_demo.ui.tabs.learn.learn_state import LearnState
    from vlm_demo.ui.tabs.learn.stage_cards import Stage

LISTED = 6  # next words that are shown at first
LABELLED = 0.1  # of the total time; shorter stages have no room for a label
EMPTY = "Ask something in Chat first: this tab shows what went on inside its answer."
BUSY = "An answer is being written in Chat: it is shown here when it is there."
OTHERS = "all others"


# -- the stages -----------------------------------------------------------------------------------------------------


def stage_boxes(exchange: ChatTurn, state: LearnState, number: int) -> Markup:
    """The stages' boxes, and a line on which each is as long as its time."""
    boxes = stage_cards.of(exchange, state.summary, number)
    timed = [(box, box.seconds or 0.0) for box in boxes]
    whole = sum(seconds for _, seconds in timed) or 1.0
    line = [
        (
            box,
            f"{100 * seconds / whole:.4f}",
            f"{box.title} {100 * seconds / whole:.0f} %" if seconds / whole >= LABELLED else "",
        )
        for box, seconds in timed
        if seconds
    ]
    answer = exchange.answer
    drawing = next((box.time for box in boxes if box.name == "explain" and box.seconds), "")
    return render(
        "learn_stages",
        stages=boxes,
        line=line,
        answer=answer.text.strip(),
        total=f"{answer.timings.total:.2f} s" + (f" and {drawing} for a map" if drawing else ""),
        pictures=len(answer.views),
        number=number,
    )


def notes(exchange: ChatTurn, state: LearnState, number: int) -> Markup:
    """What each stage does, and its measurements."""
    return render("learn_notes", stages=_described(stage_cards.of(exchange, state.summary, number)))


def _described(boxes: list[Stage]) -> list[Stage]:
    return [box for box in boxes if box.about]


# -- features and the next word -------------------------------------------------------------------------------------


def features(exchange: ChatTurn, state: LearnState, word: int, number: int) -> Markup:
    """The patches' vectors before the bridge and after it in colours, and the likeliest next words."""
    if state.summary is None:
        return not_yet(state)
    answer, summary = exchange.answer, state.summary
    after = "what cross-attention reads" if any(summary.anatomy.lens.crossing) else "after the bridge"
    figures = [_figure(summary.before[number], "before the bridge"), _figure(summary.after[number], after)]
    found = summary.anatomy.candidates
    tokens = [token_of(answer, answer_word) for answer_word in answer.words]
    numbers: dict[str, Any] = {
        "words": [answer_word.text for answer_word in answer.words],
        "texts": [[shown(text) for text in found.texts[token]] for token in tokens],
        "logits": rounded(found.logits[tokens]) if tokens else [],
        "written": [_place(found.ids[token].tolist(), answer.tokens[token].id) for token in tokens],
        "totals": rounded(found.totals[tokens]) if tokens else [],
        "temperatures": list(TEMPERATURES),
    }
    return render(
        "learn_features",
        figures=figures,
        picture=f" of picture {number + 1}" if len(answer.views) > 1 else "",
        numbers=numbers,
        word=word,
        rows=_chances(numbers, word),
        listed=LISTED,
        last=len(TEMPERATURES) - 1,
        middle=TEMPERATURES.index(1.0),
        stored=len(found.texts[0]) if found.texts else 0,
        source=source("colours"),
    )


@dataclass(frozen=True)
class _Figure:
    """One of the two pictures, and its caption."""

    source: str
    ratio: str
    alt: str
    caption: str
    remark: str


def _figure(patches: Patches, where: str) -> _Figure:
    rows, columns = patches.grid or thumbnails.square_grid(len(patches.colours))
    remark = f"{100 * patches.explained_variance:.0f} % of the variance"
    if patches.grid is None:
        remark += "; in order, for they stand for no places"
    return _Figure(
        source=thumbnails.patches_image(patches.colours, patches.grid),
        ratio=f"{columns / rows:.4f}",
        alt=f"The vectors {where}, each as one square",
        caption=f"{where} · {len(patches.colours)}×{patches.width}",
        remark=remark,
    )


def _place(ids: list[int], wanted: int) -> int:
    return ids.index(wanted) if wanted in ids else -1


def _chances(numbers: dict[str, Any], word: int) -> list[tuple[str, str, str, bool]]:
    """(text, width of the bar, percentage, whether it was written) of each candidate at temperature 1, and of all other
    tokens together."""
    if not numbers["logits"]:
        return []
    total = numbers["totals"][word][TEMPERATURES.index(1.0)]
    shares = [math.exp(logit - total) for logit in numbers["logits"][word]]
    named = [*zip(numbers["texts"][word], shares, strict=True), (OTHERS, max(0.0, 1 - sum(shares)))]
    written = numbers["written"][word]
    return [(text, f"{100 * share:.2f}", f"{100 * share:.1f} %", i == written) for i, (text, share) in enumerate(named)]


# -- losses ---------------------------------------------------------------------------------------------------------


def three_losses(exchange: ChatTurn, state: LearnState, queued: bool = False) -> Markup:
    """ITC, ITM and LM, each with its formula and the numbers of this picture and text.

    Args:
        queued: whether they were asked for and wait for their turn.
    """
    answer = exchange.answer
    lm = state.lm
    words = []
    if lm:
        longest = max(lm.surprises) or 1.0
        for i, answer_word in enumerate(answer.words):
            surprise = sum(lm.surprises[answer_word.start : answer_word.stop])
            words.append((i, answer_word.text, f"{min(100.0, 100 * surprise / longest):.0f}", f"{surprise:.2f}"))
    return render(
        "learn_losses",
        text=state.text or answer.text.strip(),
        contrast=state.contrast,
        match=state.match,
        lm=lm,
        words=words,
        blank="" if lm is None or lm.blank is None else f"{math.exp(min(lm.blank, 700)):.3g}",
        refused=state.refused,
        doing=WAITING if queued else state.doing,
        pending=state.summary is None and not state.problem,
        negatives=losses.others(state.text or answer.text),
        source=source("losses"),
        scorer=source("scores"),
    )
