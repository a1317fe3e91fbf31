"""Start: what a page has laid out to be compared → the head of the tab, and how a comparison goes, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vlm_demo.ui.components.header import Choice
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.chat.page_choice import Upload
from vlm_demo.ui.tabs.chat.transcript import ROAD
from vlm_demo.ui.tabs.compare.comparison import MOST, Column, Comparison
from vlm_demo.ui.tabs.compare.desk import MIX, Desk, Side
from vlm_demo.ui.tabs.compare.mix import Mix
from vlm_demo.ui.tabs.compare.presets import NAMES, ONLY_OPERATOR

NO_PICTURE = "There is no picture yet: ask about one in Chat, or drop, paste or choose one here."
FROM_CHAT = "The picture of the chat’s last question, asked afresh in every column."
OWN = "A picture of this tab alone."
COUNTS = {2: "both", 3: "all three", 4: "all four"}


@dataclass(frozen=True)
class Laid:
    """A picture that would be asked about.

    Attributes:
        preview: a data URI.
        own: its place among the tab's own pictures; None = it is the chat's.
        more: its place among those that can be taken off; None = it can't.
        page, count, kind: which page or frame is meant, of how many, and how they are called.
    """

    preview: str
    own: int | None = None
    more: int | None = None
    page: int = 1
    count: int = 1
    kind: str = ""


@dataclass(frozen=True)
class SideRow:
    """A column of an own mix, as its row of controls: what is chosen, and all that there is."""

    model: str
    quantize: str
    ocr: bool
    evidence_only: bool
    shows: int
    models: dict[str, Choice]
    precisions: dict[str, Choice]


def draw(desk: Desk, uploads: Sequence[Upload], closed: Mapping[str, str], mix: Mix | None, operator: bool) -> Markup:
    """The pictures, what varies, the columns of an own mix, and why some of it can't be had.

    Args:
        uploads: the pictures that would be asked about.
        closed: preset → why it can't be had.
        mix: what columns can be made of; None = nothing is known yet.
        operator: whether whoever looks may load other models.
    """
    chat_or_own = OWN if desk.pictures else FROM_CHAT
    mixing = desk.preset == MIX and mix is not None
    reasons = closed.values() if desk.preset != MIX else () if operator else (ONLY_OPERATOR,)
    return render(
        "compare_start",
        pictures=_laid(desk, uploads),
        choices=[*uploads[:1], *desk.more],
        names=NAMES,
        preset=desk.preset,
        closed=closed,
        source=chat_or_own if uploads else NO_PICTURE,
        own="Take the chat’s" if desk.pictures else "",
        reasons=list(dict.fromkeys(reasons)),
        sides=[_row(side, mix, operator) for side in desk.sides] if mixing and mix else [],
        room=len(desk.sides) < MOST,
        ocr_missing=(mix.ocr_missing or "") if mix else "",
        problem=desk.problem,
    )


def _laid(desk: Desk, uploads: Sequence[Upload]) -> list[Laid]:
    laid = []
    more = desk.more if desk.gathers else ()
    for place, upload in enumerate((*uploads, *more)):
        beside = place - len(uploads) if place >= len(uploads) else None
        own = place if desk.pictures else None if beside is None else beside
        paged = (upload.page or 1, upload.count, upload.kind)
        laid.append(Laid(upload.preview, own, beside, *paged))
    return laid


def _row(side: Side, mix: Mix, operator: bool) -> SideRow:
    own = mix.resolved(side)
    return SideRow(
        own.model,
        own.quantize,
        side.ocr,
        side.evidence_only,
        side.shows,
        mix.models(side, operator),
        mix.precisions(side, operator),
    )


def uploads_of(session: Session, desk: Desk) -> tuple[Upload, ...]:
    """The pictures to ask about: the tab's own, or those of the chat's last question."""
    if desk.pictures:
        return desk.pictures
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
        return render("compare_live", doing=doing, stages=0, done=0, said="")
    if comparison.stop.is_set():
        return render("compare_live", doing="Stopping", stages=0, done=0, said=column.turn.said)
    return render("compare_live", doing=f"{place}. {_doing(column)}", **_progress(column), said=column.turn.said)


def _doing(column: Column) -> str:
    if column.loading:
        return "Loading the model; the first time may take a minute"
    if column.turn.state == "waiting":
        return "Waiting for the model"
    if column.turn.said:
        return "Writing"
    done = {stage.name for stage in column.turn.stages}
    return next((text for name, text in ROAD.items() if name not in done and _on_road(name, column)), "Writing")


def _progress(column: Column) -> dict[str, int]:
    road = {name for name in ROAD if _on_road(name, column)}
    done = len({stage.name for stage in column.turn.stages} & road)
    return {"stages": 0 if column.loading or column.turn.said else len(road), "done": done}


def _on_road(name: str, column: Column) -> bool:
    return name != "ocr" or column.turn.ocr
