"""Heads: each layer's and each head's own map of the shown word, small, side by side.

All are drawn into one picture, of which every button shows its part: a page of large models holds 256 of them.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from vlm_demo.images.overlay import palette
from vlm_demo.ui import pictures
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.inspect.panels.html_pieces import chooses, menu, percent

PAGE = 16  # layers, and heads, that are shown at once
CELLS = 16  # of a small map, along a side


def overview(session: Session) -> str:
    """The table of small maps for the shown word; empty where no attention was recorded."""
    answer, look = session.shown.answer, session.look
    if answer.trace is None:
        return ""
    weights = answer.attention(answer.words[session.word], look.picture)
    view = answer.views[look.picture]
    layers, heads = blocks(*weights.shape[:2])[look.block]
    shown = weights[layers.start : layers.stop, heads.start : heads.stop]
    mass = shown.sum(-1)
    sheet = pictures.data_uri(sprite(shown.reshape(*shown.shape[:2], *view.grid), look.colormap), lossless=True)
    chosen = look.head if look.head and look.head[0] in layers and look.head[1] in heads else None
    body = "".join(
        f"<i>{layer + 1}</i>" + "".join(_button(layer, head, layers, heads, mass, look.head, chosen) for head in heads)
        for layer in layers
    )
    top = "<i></i>" + "".join(f"<i>{head + 1}</i>" for head in heads)
    return (
        f'<section class="heads"><h3>Layers × heads, for this word</h3>{_menus(session, weights.shape[:2])}'
        '<p class="muted">Each square is the map of one head, scaled to its own peak; the bar below it is how much of '
        "that head’s attention rests on the picture. Press one to see it large.</p>"
        f'<div class="sheet" role="group" aria-label="Maps of single heads: layers down, heads across" '
        f'style="--columns:{len(heads)};--rows:{len(layers)};--sheet:url({sheet})">{top}{body}</div></section>'
    )


def blocks(layers: int, heads: int) -> list[tuple[range, range]]:
    """The pages of the table, as (layers, heads)."""
    return [
        (range(i, min(i + PAGE, layers)), range(j, min(j + PAGE, heads)))
        for i in range(0, layers, PAGE)
        for j in range(0, heads, PAGE)
    ]


def sprite(maps: np.ndarray, colormap: str) -> Image.Image:
    """Maps [layers, heads, rows, columns], each scaled to its own peak → one picture, a pixel a cell.

    Larger grids are averaged down to at most ``CELLS`` along a side.
    """
    small = _averaged(_averaged(maps, 2), 3)
    peaks = small.max((2, 3), keepdims=True)
    levels = (small / np.maximum(peaks, 1e-12) * 255).round().astype(np.uint8)
    layers, heads, rows, columns = levels.shape
    image = Image.fromarray(levels.swapaxes(1, 2).reshape(layers * rows, heads * columns))
    image.putpalette(palette(colormap).tobytes())
    return image


def _averaged(maps: np.ndarray, axis: int) -> np.ndarray:
    length = maps.shape[axis]
    starts = np.unique(np.arange(min(CELLS, length)) * length // min(CELLS, length))
    widths = np.diff(np.append(starts, length))
    shape = [1] * maps.ndim
    shape[axis] = len(starts)
    return np.add.reduceat(maps, starts, axis) / widths.reshape(shape)


def _button(
    layer: int,
    head: int,
    layers: range,
    heads: range,
    mass: np.ndarray,
    pressed: tuple[int, int] | None,
    reachable: tuple[int, int] | None,
) -> str:
    """One head. By keyboard, Tab reaches one of them and the arrows the others."""
    here = (layer, head)
    i, j = layer - layers.start, head - heads.start
    x, y = 100 * j / max(1, len(heads) - 1), 100 * i / max(1, len(layers) - 1)
    share = float(mass[i, j])
    stop = "" if here == (reachable or (layers.start, heads.start)) else ' tabindex="-1"'
    return (
        f'<button type="button" class="head" {chooses("head", here)} aria-pressed="{str(here == pressed).lower()}"'
        f'{stop} style="background-position:{x:.2f}% {y:.2f}%" '
        f'title="layer {layer + 1}, head {head + 1}: {percent(share)} on the picture">'
        f'<b style="width:{100 * min(share, 1):.0f}%"></b></button>'
    )


def _menus(session: Session, shape: tuple[int, ...]) -> str:
    """Which picture's heads, and which page of them, where there are several."""
    look = session.look
    menus = []
    if (count := len(session.shown.answer.views)) > 1:
        names = [(str(i), f"Picture {i + 1}") for i in range(count)]
        menus.append(menu("picture", "Picture", names, str(look.picture)))
    pages = blocks(*shape[:2])
    if len(pages) > 1:
        parts = [f"layers {a.start + 1}–{a.stop}, heads {b.start + 1}–{b.stop}" for a, b in pages]
        menus.append(menu("block", "Part", [(str(i), part) for i, part in enumerate(parts)], str(look.block)))
    return f'<p class="menus">{"".join(menus)}</p>' if menus else ""
