"""Stages: one answer → the boxes of its road, each with its own shapes, norms, time, picture and file.

A box stands for what this very request went through: a model that is answered in one piece has few, one without a
projector has another one in its place.
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
from vlm_demo.ui.source.road_files import Source, source
from vlm_demo.ui.tabs.inspect.map_options import MapOptions
from vlm_demo.ui.tabs.inspect.panels.html_pieces import lasted
from vlm_demo.ui.tabs.learn import thumbnails
from vlm_demo.ui.tabs.learn.about import ABOUT

if TYPE_CHECKING:
    from vlm_demo.contracts import StageEvent
    from vlm_demo.ui.tabs.learn.lesson import Lesson

THUMB = 168  # pixels, twice a thumbnail's side, for sharp screens

# The kind of the bridge → what its box is called.
BRIDGES = {"projector": "Bridge", "Q-Former": "Q-Former", "cross-attention": "Cross-attention"}


@dataclass(frozen=True)
class Stage:
    """One box of the road.

    Attributes:
        name: of the stage.
        title: as it is called in this model.
        seconds: that it took; None where it was not measured.
        shapes: what went in and came out.
        remark: a second line.
        figure: its picture.
        source: the file that does it.
        off: whether it was not asked for.
        target: the id of what tells more of it.
        about: what it does, in a sentence or two.
        detail: all that was measured, in a line.
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


def of(exchange: ChatTurn, lesson: Lesson | None, word: int, number: int) -> list[Stage]:
    """The boxes of an answer that is there, in the order in which data goes through them.

    Args:
        lesson: what was found inside, if it is there already.
        word: whose map the last box shows.
        number: which of its pictures.
    """
    events = {event.name: event for event in exchange.stages}
    road = [_view(exchange, events, number), _ocr(exchange, events)]
    if "encoder" in events:
        road.append(_encoder(events["encoder"], exchange, lesson, number))
    if "bridge" in events:
        road.append(_bridge(events["bridge"], exchange, lesson, number))
    road += [_prompt(events.get("prompt"), exchange), _llm(events, exchange, lesson)]
    if exchange.answer.trace is not None:
        road.append(_explain(exchange, lesson, word, number))
    return road


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
    told = _detail(events.get("ocr"))
    shapes = f"{words} word{'s' * (words != 1)} read"
    seconds = exchange.answer.timings.ocr
    return Stage(
        "ocr", "OCR", seconds, shapes, "", thumbnails.tile(str(words)), source("ocr"), about=about, detail=told
    )


def _encoder(event: StageEvent, exchange: ChatTurn, lesson: Lesson | None, number: int) -> Stage:
    own = lesson.before[number] if lesson else None
    return Stage(
        "encoder",
        "Encoder",
        exchange.answer.timings.encoder,
        _shapes(event),
        _norm(own.norms) if own else "",
        thumbnails.picture(
            thumbnails.patches_image(own.colours, own.grid),
            "Three main directions of the patches’ vectors",
            pixels=True,
        )
        if own
        else thumbnails.tile("…"),
        source("encoder"),
        target="learn-features",
        about=ABOUT["encoder"],
        detail=_detail(event),
    )


def _bridge(event: StageEvent, exchange: ChatTurn, lesson: Lesson | None, number: int) -> Stage:
    kind = event.facts.bridge.kind if isinstance(event.facts, BridgeFacts) else "projector"
    own = lesson.after[number] if lesson else None
    text = f"; text {_figure(lesson.text_norm)}" if lesson and lesson.text_norm and kind != "cross-attention" else ""
    return Stage(
        "bridge",
        BRIDGES.get(kind, "Bridge"),
        exchange.answer.timings.bridge,
        _shapes(event),
        _norm(own.norms) + text if own else "",
        thumbnails.picture(
            thumbnails.norms_image(own), "How long each image token’s vector is: more is lighter", pixels=True
        )
        if own
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


def _llm(events: dict[str, StageEvent], exchange: ChatTurn, lesson: Lesson | None) -> Stage:
    answer = exchange.answer
    layers = f", {_layers(lesson)}" if lesson else ""
    whole = "encoder" not in events
    count = len(answer.tokens)
    figure, remark = (thumbnails.tile("–" if whole else "…"), "") if lesson is None else thumbnails.bars(lesson)
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


def _layers(lesson: Lesson) -> str:
    crossing = lesson.anatomy.lens.crossing
    return f"{len(crossing) - sum(crossing)}" + (f" + {sum(crossing)}" if any(crossing) else "") + " layers"


def _explain(exchange: ChatTurn, lesson: Lesson | None, word: int, number: int) -> Stage:
    answer = exchange.answer
    words, patches = len(answer.words), len(answer.views[number].boxes)
    figure = thumbnails.tile("…")
    if lesson and number < len(lesson.heat):
        laid = pictures.overlay(lesson.heat[number], answer.views[number], MapOptions())
        name = answer.words[word].text if answer.words else ""
        figure = thumbnails.picture(pictures.data_uri(pictures.shrunk(laid, THUMB)), f"The map of “{name}”")
    return Stage(
        "explain",
        "Explain",
        lesson.heat_seconds if lesson and lesson.heat else None,
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
