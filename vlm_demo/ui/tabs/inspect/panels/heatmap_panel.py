"""Heatmap: where the model looked as it wrote the shown word, over each picture, and how to look at it otherwise."""

from __future__ import annotations

from html import escape

import numpy as np

from vlm_demo.contracts.geometry import inside
from vlm_demo.errors import VlmDemoError
from vlm_demo.images.overlay import COLORMAPS, palette
from vlm_demo.ui import pictures
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.inspect.panels import heads_panel, method_menu, word_buttons
from vlm_demo.ui.tabs.inspect.panels.html_pieces import NOTHING, canvas, menu, percent
from vlm_demo.ui.tabs.inspect.panels.stages_panel import cards


def draw(session: Session) -> str:
    """The shown word's map over each picture, the word stepper, the look, the pressed patch, the road in four cards,
    what every word's attention rested on, and each head's own map."""
    exchange = session.shown
    answer = exchange.answer if exchange else None
    if not answer:
        return NOTHING.format("Ask about a picture; then each word of the answer shows here where the model looked.")
    if not answer.words:
        return NOTHING.format("This answer has no words to look at.") + cards(exchange)
    try:
        heats = [shown_map(session, number) for number in range(len(answer.views))]
    except VlmDemoError as error:
        return NOTHING.format(escape(str(error))) + cards(exchange)
    turn = session.exchanges.index(exchange)
    figures = "".join(_figure(session, exchange, number, heat) for number, heat in enumerate(heats))
    missing = method_menu.panel(session) if any(heat is None for heat in heats) else ""
    return (
        f'<div class="lens"><div class="maps" data-turn="{turn}" data-word="{session.word}">{figures}</div>{missing}'
        f'<div class="toolbar">{_stepper(session)}{method_menu.picker(session)}</div></div>'
        f'<div class="toolbar look">{_look(session)}</div>'
        f'<p class="muted">{_chance(session)} {method_menu.told(session)}</p>{_grounded(exchange)}'
        f"{word_buttons.used(session)}{cards(exchange)}{word_buttons.shares(session)}{heads_panel.overview(session)}"
    )


def shown_map(session: Session, number: int) -> np.ndarray | None:
    """The map over one picture, float32 [H, W] in 0..1: of the chosen head, or by the chosen method; None where the
    model has to be asked for it first."""
    exchange, look, name = session.shown, session.look, method_menu.shown(session)
    key = (exchange, session.word, number, name, look.head)
    if look.head is None and not method_menu.is_free(name):
        return session.dear.get(key)
    if key not in session.maps:
        word = exchange.answer.words[session.word]
        if look.head:
            heat = exchange.answer.heatmap(word, image=number, layer=look.head[0], head=look.head[1])
        else:
            heat = exchange.answer.heatmap(word, image=number, method=name)
        session.keep(key, heat)
    return session.maps[key]


def _figure(session: Session, exchange: ChatTurn, number: int, heat: np.ndarray | None) -> str:
    look, view = session.look, exchange.answer.views[number]
    drawn = view.image if heat is None else pictures.overlay(heat, view, look)
    width, height = view.size
    pressed = ""
    if look.patch and look.patch[0] == number:
        x0, y0, x1, y1 = (float(edge) for edge in view.boxes[look.patch[1]])
        pressed = f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}"/>'
    word = escape(exchange.answer.words[session.word].text)
    several = len(exchange.answer.views) > 1
    caption = f"<figcaption><span>Picture {number + 1}</span>{_saves(session, number)}</figcaption>" if several else ""
    return (
        f'<figure><button type="button" class="map" data-act="patch" data-picture="{number}" '
        f'style="--ratio:{width / height:.4f}" aria-label="Heatmap of the word {word} over picture {number + 1}: '
        f'press a patch to see which words used it; arrow keys move it">'
        f'<img class="overlay" src="{pictures.data_uri(drawn)}" alt="">{canvas(width, height, pressed)}</button>'
        f"{scale(session, number, heat is not None)}{caption}</figure>"
    )


def scale(session: Session, number: int, drawn: bool = True) -> str:
    """The colours from the coldest patch to the hottest one, each with its share of the map's whole weight, and a tick
    where every patch would lie if the weight were spread evenly: 1 / patches. Maps that the model was asked for are not
    kept patch by patch, so they have colours alone; what is not ``drawn`` has none."""
    if not drawn:
        return ""
    look, name = session.look, method_menu.shown(session)
    stops = ", ".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in palette(look.colormap)[:: 255 // 5])
    bar = f'<i style="background:linear-gradient(90deg, {stops})">{{}}</i>'
    if look.head is None and not method_menu.is_free(name):
        return f'<div class="scale">{bar.format("")}<span>least</span><span>most</span></div>'
    shares = _shares(session, number, name)
    if shares is None:
        return ""
    low, high, even = float(shares.min()), float(shares.max()), 1 / len(shares)
    at = 100 * (even - low) / (high - low)
    told = f"{percent(low)} to {percent(high)} of the map’s weight a patch; spread evenly {percent(even)} each"
    tick = f'<b style="left:{at:.1f}%"></b>'
    return (
        f'<div class="scale" role="img" aria-label="Colours: {told}" title="{told}">{bar.format(tick)}'
        f"<span>{percent(low)}</span><span>even {percent(even)}</span><span>{percent(high)}</span></div>"
    )


def _shares(session: Session, number: int, name: str | None) -> np.ndarray | None:
    """[patches inside the picture], of the shown map's weight, together 1; None where all are alike."""
    answer, head = session.shown.answer, session.look.head or (None, None)
    word = answer.words[session.word]
    cells = answer.cells(word, number, None if session.look.head else name, *head)
    cells = cells[inside(answer.views[number])].astype(np.float64)
    if not len(cells) or cells.min() < 0 or cells.max() - cells.min() <= 1e-6 * cells.max():
        return None
    return cells / cells.sum()


def _saves(session: Session, number: int) -> str:
    """What of this picture can be saved; nothing while its map has not been computed."""
    if shown_map(session, number) is None:
        return ""
    width, height = session.shown.answer.views[number].size
    buttons = "".join(
        f'<button type="button" class="link" data-act="export" data-kind="{kind}" data-picture="{number}" '
        f'title="{told}">{said}</button>'
        for kind, said, told in (
            ("png", "PNG", "Save the overlay as it is shown"),
            ("npy", "array", f"Save the map itself as NumPy's .npy, float32 [{height}, {width}] in 0..1"),
        )
    )
    return f'<span class="saves">Save: {buttons}</span>'


def _stepper(session: Session) -> str:
    answer = session.shown.answer
    word = answer.words[session.word]

    def arrow(by: int, label: str, sign: str, end: bool) -> str:
        off = " disabled" if end else ""
        return f'<button type="button" data-act="step" data-by="{by}" aria-label="{label}"{off}>{sign}</button>'

    before = arrow(-1, "Previous word", "◀", session.word == 0)
    after = arrow(1, "Next word", "▶", session.word == len(answer.words) - 1)
    play = '<button type="button" class="play" data-act="play" aria-pressed="false">▷ play</button>'
    return (
        f'<span class="stepper">{before}<b>{escape(word.text)}</b>{after}{play if len(answer.words) > 1 else ""}</span>'
    )


def _chance(session: Session) -> str:
    """How sure the model was of the word, and how much of its attention lay on the picture."""
    answer = session.shown.answer
    word = answer.words[session.word]
    sure = min(token.probability for token in answer.tokens[word.start : word.stop])
    shares = session.shown.shares[session.word]
    looked = "" if shares is None else f" · {percent(shares.picture)} of its attention on the picture"
    told = "The model's probability of the word, and how much of its attention rested on the picture as it wrote it"
    return f'<span title="{told}">Probability {sure:.2f}{looked}.</span>'


def _grounded(exchange: ChatTurn) -> str:
    """Why the answer has its badge."""
    return f'<p class="muted">{escape(exchange.grounding.sentence)}</p>' if exchange.grounding else ""


def _look(session: Session) -> str:
    look, act = session.look, 'data-act="look"'
    slider = f'<input type="range" {act} name="opacity" min="0" max="100" step="5" value="{look.opacity * 100:.0f}">'
    box = f'<input type="checkbox" {act} name="grid"{" checked" if look.grid else ""}>'
    colours = menu("colormap", "Colours", [(name, name) for name in COLORMAPS], look.colormap)
    saves = _saves(session, 0) if len(session.shown.answer.views) == 1 else ""
    return f"<label>Opacity {slider}</label>{colours}<label>{box} Patch grid</label>{saves}"
