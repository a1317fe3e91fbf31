"""Start: a page's choices for a comparison → the head of the tab, and a comparison's progress, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vlm_demo.ui.components.header import Choice
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.chat.page_choice import Upload
from vlm_demo.ui.tabs.chat.transcript import STAGE_LABELS
from vlm_demo.ui.tabs.compare.compare_state import MIX, CompareState, Side
from vlm_demo.ui.tabs.compare.comparison import MOST, Column, Comparison
from vlm_demo.ui.tabs.compare.mix import Mix
from vlm_demo.ui.tabs.compare.presets import NAMES, ONLY_OPERATOR

NO_PICTURE = "There is no picture yet: ask about one in Chat, or drop, paste or choose one here."
FROM_CHAT = "The picture of the chat’s last question, asked afresh in every column."
OWN = "A picture of this tab alone."
COUNTS = {2: "both", 3: "all three", 4: "all four"}


@dataclass(frozen=True)
class ChosenPicture:
    """A picture that would be asked about.

    Attributes:
        preview: a data URI.
        number: its index among the tab's pictures; None = it is the chat's.
        more: its index among those that can be removed; None = it can't.
        page, count, kind: its page or frame, of how many, and what they are called.
    """

    preview: str
    number: int | None = None
    more: int | None = None
    page: int = 1
    count: int = 1
    kind: str = ""


@dataclass(frozen=True)
class SideRow:
    """A column of a custom mix, as its row of controls: what is chosen, and all choices."""

    model: str
    quantize: str
    ocr: bool
    evidence_only: bool
    shows: int
    models: dict[str, Choice]
    precisions: dict[str, Choice]


def draw(
    state: CompareState, uploads: Sequence[Upload], closed: Mapping[str, str], mix: Mix | None, operator: bool
) -> Markup:
    """The pictures, what varies, the columns of a custom mix, and why some of it is unavailable.

    Args:
        uploads: the pictures that would be asked about.
        closed: preset → why it is unavailable.
        mix: the settings that columns may have; None = not known yet.
        operator: whether the client may load other models.
    """
    chat_or_own = OWN if state.pictures else FROM_CHAT
    mixing = state.preset == MIX and mix is not None
    reasons = closed.values() if state.preset != MIX else () if operator else (ONLY_OPERATOR,)
    return render(
        "compare_start",
        pictures=_chosen_pictures(state, uploads),
        choices=[*uploads[:1], *state.more],
        names=NAMES,
        preset=state.preset,
        closed=closed,
        source=chat_or_own if uploads else NO_PICTURE,
        reset="Take the chat’s" if state.pictures else "",
        reasons=list(dict.fromkeys(reasons)),
        sides=[_row(side, mix, operator) for side in state.sides] if mixing and mix else [],
        room=len(state.sides) < MOST,
        ocr_missing=(mix.ocr_missing or "") if mix else "",
        problem=state.problem,
    )


def _chosen_pictures(state: CompareState, uploads: Sequence[Upload]) -> list[ChosenPicture]:
    chosen = []
    more = state.more if state.collects_pictures else ()
    for place, upload in enumerate((*uploads, *more)):
        extra = place - len(uploads) if place >= len(uploads) else None
        number = place if state.pictures else None if extra is None else extra
        paged = (upload.page or 1, upload.count, upload.kind)
        chosen.append(ChosenPicture(upload.preview, number, extra, *paged))
    return chosen


def _row(side: Side, mix: Mix, operator: bool) -> SideRow:
    resolved = mix.resolved(side)
    return SideRow(
        resolved.model if operator else side.model,
        resolved.quantize,
        side.ocr,
        side.evidence_only,
        side.shows,
        mix.models(side, operator),
        mix.precisions(side, operator),
    )


def uploads_of(session: Session, state: CompareState) -> tuple[Upload, ...]:
    """The pictures to ask about: the tab's, or those of the chat's last question."""
    if state.pictures:
        return state.pictures
    at = session.with_pictures(len(session.exchanges) - 1)
    if at < 0:
        return ()
    turn = session.exchanges[at]
    pages = turn.pages or (None,) * len(turn.pictures)
    named = zip(turn.names, turn.pictures, pages, turn.previews, strict=True)
    return tuple(Upload(name, content, page, preview) for name, content, page, preview in named)


def live(comparison: Comparison | None, ahead: int = 0) -> Markup:
    """What is being computed, and the words so far; empty when nothing is.

    Args:
        ahead: comparisons of other pages that come first.
    """
    if comparison is None or not comparison.running:
        return Markup()
    columns = comparison.columns
    number = next(i for i, column in enumerate(columns) if column.turn.running)
    column = columns[number]
    place = f"{number + 1} of {len(columns)}: {column.label}"
    if ahead:
        doing = f"Waiting for its turn: {ahead} comparison{'s' * (ahead != 1)} before it"
        return render("compare_live", doing=doing, stages=0, done=0, text="")
    if comparison.stop.is_set():
        return render("compare_live", doing="Stopping", stages=0, done=0, text=column.turn.answer_text)
    return render("compare_live", doing=f"{place}. {_doing(column)}", **_progress(column), text=column.turn.answer_text)


def _doing(column: Column) -> str:
    if column.loading:
        return "Loading the model; the first time may take a minute"
    if column.turn.state == "waiting":
        return "Waiting for the model"
    if column.turn.answer_text:
        return "Writing"
    done = {stage.name for stage in column.turn.stages}
    return next((text for name, text in STAGE_LABELS.items() if name not in done and _runs(name, column)), "Writing")


def _progress(column: Column) -> dict[str, int]:
    stages = {name for name in STAGE_LABELS if _runs(name, column)}
    done = len({stage.name for stage in column.turn.stages} & stages)
    return {"stages": 0 if column.loading or column.turn.answer_text else len(stages), "done": done}


def _runs(name: str, column: Column) -> bool:
    return name != "ocr" or column.turn.ocr
