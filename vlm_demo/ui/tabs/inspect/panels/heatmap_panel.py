"""Heatmap: where the model looked as it wrote the shown word, over each picture, and the map's options."""

from __future__ import annotations

import time

import numpy as np
from markupsafe import Markup

from vlm_demo.contracts.geometry import inside
from vlm_demo.errors import VlmDemoError
from vlm_demo.images.overlay import COLORMAPS, palette
from vlm_demo.ui import pictures
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.inspect.panels import heads_panel, method_menu, word_buttons
from vlm_demo.ui.tabs.inspect.panels.html_pieces import nothing, percent
from vlm_demo.ui.tabs.inspect.panels.stages_panel import cards


def draw(session: Session) -> Markup:
    """The shown word's map over each picture, the word stepper, the map options, the selected patch, the stages in four
    cards, how every word's attention was divided, and each head's map."""
    exchange = session.shown
    answer = exchange.answer if exchange else None
    if not answer:
        return nothing("Ask about a picture; then each word of the answer shows here where the model looked.")
    if not answer.words:
        return nothing("This answer has no words to look at.") + cards(exchange)
    try:
        heats = [shown_map(session, number) for number in range(len(answer.views))]
    except VlmDemoError as error:
        return nothing(str(error)) + cards(exchange)
    options, several = session.map_options, len(answer.views) > 1
    return render(
        "heatmap",
        turn=session.exchanges.index(exchange),
        index=session.word,
        drawn=time.monotonic_ns(),
        word=answer.words[session.word].text,
        count=len(answer.words),
        figures=[_figure(session, exchange, number, heat) for number, heat in enumerate(heats)],
        missing=method_menu.panel(session) if any(heat is None for heat in heats) else "",
        methods=method_menu.picker(session),
        options=options,
        opacity=f"{options.opacity * 100:.0f}",
        colormaps=[(name, name) for name in COLORMAPS],
        saves="" if several else _saves(session, 0),
        chance=_chance(session),
        explanation=method_menu.explanation(session),
        grounding=exchange.grounding,
        below=[
            word_buttons.used(session),
            cards(exchange),
            word_buttons.shares(session),
            heads_panel.overview(session),
        ],
    )


def shown_map(session: Session, number: int) -> np.ndarray | None:
    """The map over one picture, float32 [H, W] in 0..1: of the selected head, or by the chosen method; None where the
    model has to compute it first."""
    exchange, options, name = session.shown, session.map_options, method_menu.shown(session)
    key = (exchange, session.word, number, name, options.head)
    if options.head is None and not method_menu.is_free(name):
        return session.costly_maps.get(key)
    if key not in session.maps:
        word = exchange.answer.words[session.word]
        if options.head:
            heat = exchange.answer.heatmap(word, image=number, layer=options.head[0], head=options.head[1])
        else:
            heat = exchange.answer.heatmap(word, image=number, method=name)
        session.remember_map(key, heat)
    return session.maps[key]


def _figure(session: Session, exchange: ChatTurn, number: int, heat: np.ndarray | None) -> Markup:
    options, view = session.map_options, exchange.answer.views[number]
    drawn = view.image if heat is None else pictures.overlay(heat, view, options)
    width, height = view.size
    pressed = None
    if options.patch and options.patch[0] == number:
        x0, y0, x1, y1 = (float(edge) for edge in view.boxes[options.patch[1]])
        pressed = [f"{edge:.1f}" for edge in (x0, y0, x1 - x0, y1 - y0)]
    several = len(exchange.answer.views) > 1
    return render(
        "heatmap_figure",
        number=number,
        word=exchange.answer.words[session.word].text,
        source=pictures.data_uri(drawn),
        width=width,
        height=height,
        ratio=f"{width / height:.4f}",
        pressed=pressed,
        scale=scale(session, number, heat is not None),
        several=several,
        saves=_saves(session, number) if several else "",
    )


def scale(session: Session, number: int, drawn: bool = True) -> Markup:
    """The colour scale from the lowest patch to the highest one, each with its share of the map's total weight, and a
    tick at the uniform share, 1 / patches. Maps that the model had to compute are not stored patch by patch, so they
    have colours alone; what is not ``drawn`` has none."""
    if not drawn:
        return Markup()
    options, name = session.map_options, method_menu.shown(session)
    stops = ", ".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in palette(options.colormap)[:: 255 // 5])
    if options.head is None and not method_menu.is_free(name):
        return render("scale", stops=stops, shares=())
    shares = _shares(session, number, name)
    if shares is None:
        return Markup()
    low, high, even = float(shares.min()), float(shares.max()), 1 / len(shares)
    tick = f"{100 * (even - low) / (high - low):.1f}"
    summary = f"{percent(low)} to {percent(high)} of the map’s weight a patch; spread evenly {percent(even)} each"
    figures = [percent(low), percent(even), percent(high)]
    return render("scale", stops=stops, shares=figures, tick=tick, summary=summary)


def _shares(session: Session, number: int, name: str | None) -> np.ndarray | None:
    """[patches inside the picture]: shares of the shown map's weight, summing to 1; None where all are equal."""
    answer, head = session.shown.answer, session.map_options.head or (None, None)
    word = answer.words[session.word]
    cells = answer.cells(word, number, None if session.map_options.head else name, *head)
    cells = cells[inside(answer.views[number])].astype(np.float64)
    if not len(cells) or cells.min() < 0 or cells.max() - cells.min() <= 1e-6 * cells.max():
        return None
    return cells / cells.sum()


def _saves(session: Session, number: int) -> Markup:
    """The save buttons of this picture; empty while its map has not been computed."""
    if shown_map(session, number) is None:
        return Markup()
    width, height = session.shown.answer.views[number].size
    return render("saves", number=number, width=width, height=height)


def _chance(session: Session) -> str:
    """The word's probability, and how much of its attention was on the picture."""
    answer = session.shown.answer
    word = answer.words[session.word]
    sure = min(token.probability for token in answer.tokens[word.start : word.stop])
    shares = session.shown.shares[session.word]
    attention = "" if shares is None else f" · {percent(shares.picture)} of its attention on the picture"
    return f"Probability {sure:.2f}{attention}."
