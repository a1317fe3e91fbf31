"""Start: what a page has laid out to be compared → the head of the tab, and how a comparison goes, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from vlm_demo.ui.components.templates import render
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.chat.page_choice import Upload
from vlm_demo.ui.tabs.chat.transcript import ROAD
from vlm_demo.ui.tabs.compare.comparison import Column, Comparison, Desk
from vlm_demo.ui.tabs.compare.presets import NAMES

NO_PICTURE = "There is no picture yet: ask about one in Chat, or choose one here."
FROM_CHAT = "The picture of the chat’s last question, asked afresh in every column."
OWN = "A picture of this tab alone."
COUNTS = {2: "both", 3: "all three", 4: "all four"}


def draw(desk: Desk, uploads: Sequence[Upload], closed: Mapping[str, str]) -> Markup:
    """The pictures, what varies, and why some of it can't be had.

    Args:
        uploads: the pictures that would be asked about.
        closed: preset → why it can't be had.
    """
    second = (desk.second,) if desk.second and desk.preset == "pictures" else ()
    chat_or_own = OWN if desk.picture else FROM_CHAT
    return render(
        "compare_start",
        previews=[upload.preview for upload in (*uploads, *second)],
        names=NAMES,
        preset=desk.preset,
        closed=closed,
        source=chat_or_own if uploads else NO_PICTURE,
        own="Take the chat’s" if desk.picture else "",
        reasons=list(dict.fromkeys(closed.values())),
        problem=desk.problem,
    )


def uploads_of(session: Session, desk: Desk) -> tuple[Upload, ...]:
    """The pictures to ask about: the tab's own, or those of the chat's last question."""
    if desk.picture:
        return (desk.picture,)
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
