"""Stages: one answer → a box for each of its stages, with shapes, norms, time, picture and source file.

The boxes are the stages that this request went through: a model that is called as a whole has few, one without a
projector has another bridge in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from PIL import Image

from vlm_demo.contracts.events import BridgeFacts
from vlm_demo.ui import pictures, stage_words
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.source.step_files import Source, source
from vlm_demo.ui.tabs.inspect.map_options import MapOptions
from vlm_demo.ui.tabs.inspect.panels.html_pieces import lasted
from vlm_demo.ui.tabs.learn import thumbnails
from vlm_demo.ui.tabs.learn.about import ABOUT

if TYPE_CHECKING:
    from vlm_demo.contracts import StageEvent
    from vlm_demo.ui.tabs.learn.anatomy_summary import AnatomySummary

THUMB = 168  # pixels, twice a thumbnail's side, for sharp screens

# The kind of the bridge → what its box is called.
BRIDGES = {"projector": "Bridge", "Q-Former": "Q-Former", "cross-attention": "Cross-attention"}


@dataclass(frozen=True)
class Stage:
    """One stage's box.

    Attributes:
        name: of the stage.
        title: its name for this model.
        seconds: its time; None where not measured.
        shapes: of its input and output.
        remark: a second line.
        figure: its picture.
        source: the file that implements it.
        off: whether it was not requested.
        target: the id of the element with details.
        about: what it does, in a sentence or two.
        detail: its measurements, in a line.
    """

    name: str
    title: str
    seconds: float | None
    shapes: str
    remark: str
    figure: Markup
    source: Source
    off: bool = False
    target: str = ""
    about: str = ""
    detail: str = ""

    @property
    def time(self) -> str:
        return "" if self.seconds is None else lasted(self.seconds) if self.seconds else "0 ms"


def of(exchange: ChatTurn, summary: AnatomySummary | None, number: int) -> list[Stage]:
    """The boxes of a finished answer, in the order of the data flow.

    Args:
        summary: of its anatomy, if computed already.
        number: which of its pictures.
    """
    events = {event.name: event for event in exchange.stages}
    boxes = [_view(exchange, events, number), _ocr(exchange, events)]
    if "encoder" in events:
        boxes.append(_encoder(events["encoder"], exchange, summary, number))
    if "bridge" in events:
        boxes.append(_bridge(events["bridge"], exchange, summary, number))
    boxes += [_prompt(events.get("prompt"), exchange), _llm(events, exchange, summary)]
    if exchange.answer.trace is not None:
        boxes.append(_explain(exchange, summary, number))
    return boxes


def _view(exchange: ChatTurn, events: dict[str, StageEvent], number: int) -> Stage:
    view, size = exchange.answer.views[number], exchange.sizes[number]
    height, width = view.processed.shape[:2]
    rows, columns = view.grid
    image = pictures.shrunk(Image.fromarray(view.processed), THUMB)
    return Stage(
        "view",
        "View",
        exchange.answer.timings.view,
        f"{size[0]}×{size[1]} → {width}×{height}",
        f"{rows}×{columns} patches",
        thumbnails.picture(pictures.data_uri(image), "The picture as the model sees it"),
        source("view"),
        about=ABOUT["view"],
        detail=_detail(events.get("view")),
    )


def _ocr(exchange: ChatTurn, events: dict[str, StageEvent]) -> Stage:
    about = ABOUT["ocr"]
    if not exchange.ocr:
        return Stage(
            "ocr", "OCR", 0.0, "not asked for", "", thumbnails.tile("off"), source("ocr"), off=True, about=about
        )
    words = sum(len(read.words) for read in exchange.answer.ocrs)
    detail = _detail(events.get("ocr"))
    shapes = f"{words} word{'s' * (words != 1)} read"
    seconds = exchange.answer.timings.ocr
    return Stage(
        "ocr", "OCR", seconds, shapes, "", thumbnails.tile(str(words)), source("ocr"), about=about, detail=detail
    )


def _encoder(event: StageEvent, exchange: ChatTurn, summary: AnatomySummary | None, number: int) -> Stage:
    patches = summary.before[number] if summary else None
    return Stage(
        "encoder",
        "Encoder",
        exchange.answer.timings.encoder,
        _shapes(event),
        _norm(patches.norms) if patches else "",
        thumbnails.picture(
            thumbnails.patches_image(patches.colours, patches.grid),
            "Three main directions of the patches’ vectors",
            pixels=True,
        )
        if patches
        else thumbnails.tile("…"),
        source("encoder"),
        target="learn-features",
        about=ABOUT["encoder"],
        detail=_detail(event),
    )


def _bridge(event: StageEvent, exchange: ChatTurn, summary: AnatomySummary | None, number: int) -> Stage:
    kind = event.facts.bridge.kind if isinstance(event.facts, BridgeFacts) else "projector"
    patches = summary.after[number] if summary else None
    text = f"; text {_figure(summary.text_norm)}" if summary and summary.text_norm and kind != "cross-attention" else ""
    return Stage(
        "bridge",
        BRIDGES.get(kind, "Bridge"),
        exchange.answer.timings.bridge,
        _shapes(event),
        _norm(patches.norms) + text if patches else "",
        thumbnails.picture(
            thumbnails.norms_image(patches), "How long each image token’s vector is: more is lighter", pixels=True
        )
        if patches
        else thumbnails.tile("…"),
        source("bridge"),
        target="learn-features",
        about=ABOUT.get(kind, ABOUT["projector"]),
        detail=_detail(event),
    )


def _prompt(event: StageEvent | None, exchange: ChatTurn) -> Stage:
    prompt = exchange.answer.prompt
    text = len(prompt.ids) - prompt.image_tokens
    return Stage(
        "prompt",
        "Prompt",
        exchange.answer.timings.prompt,
        f"{prompt.image_tokens} image + {text} text",
        f"= {len(prompt.ids)} tokens",
        thumbnails.squares(exchange),
        source("prompt"),
        about=ABOUT["prompt"],
        detail=_detail(event),
    )


def _llm(events: dict[str, StageEvent], exchange: ChatTurn, summary: AnatomySummary | None) -> Stage:
    answer = exchange.answer
    layers = f", {_layers(summary)}" if summary else ""
    whole = "encoder" not in events
    count = len(answer.tokens)
    figure, remark = (thumbnails.tile("–" if whole else "…"), "") if summary is None else thumbnails.bars(summary)
    parts = [f"reading {lasted(answer.timings.prefill)}", f"writing {lasted(answer.timings.decode)}"]
    return Stage(
        "llm",
        "Model" if whole else "LLM",
        answer.timings.prefill + answer.timings.decode,
        f"{len(answer.prompt.ids)} → {count} token{'s' * (count != 1)}{layers}",
        remark or " + ".join(parts),
        figure,
        source("whole" if whole else "llm"),
        target="" if whole else "learn-lens",
        about=ABOUT["whole" if whole else "llm"],
        detail=", ".join(filter(None, [*parts, _detail(events.get("prefill"))])),
    )


def _layers(summary: AnatomySummary) -> str:
    crossing = summary.anatomy.lens.crossing
    return f"{len(crossing) - sum(crossing)}" + (f" + {sum(crossing)}" if any(crossing) else "") + " layers"


def _explain(exchange: ChatTurn, summary: AnatomySummary | None, number: int) -> Stage:
    answer = exchange.answer
    words, patches = len(answer.words), len(answer.views[number].boxes)
    figure = thumbnails.tile("…")
    if summary and number < len(summary.heat):
        laid = pictures.overlay(summary.heat[number], answer.views[number], MapOptions())
        name = answer.words[summary.heat_word].text
        figure = thumbnails.picture(pictures.data_uri(pictures.shrunk(laid, THUMB)), f"The map of “{name}”")
    return Stage(
        "explain",
        "Explain",
        summary.heat_seconds if summary and summary.heat else None,
        f"{words} word{'s' * (words != 1)} × {patches} patches",
        "recorded attention",
        figure,
        source("explain"),
        about=ABOUT["explain"],
        detail="the time is that of one map",
    )


def _shapes(event: StageEvent) -> str:
    return stage_words.detail(event).partition(", ")[0]


def _detail(event: StageEvent | None) -> str:
    return stage_words.detail(event) if event else ""


def _norm(norms: np.ndarray) -> str:
    return f"norm {_figure(float(norms.mean()))} ± {_figure(float(norms.std()))}"


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else f"{value:.2g}"
