"""Heads: the map of every layer and head for the shown word, small, side by side.

All are drawn into one sprite, of which every button shows its part: a page of large models has 256 of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from PIL import Image

from vlm_demo.images.overlay import palette
from vlm_demo.ui import pictures
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.inspect.panels.html_pieces import percent

PAGE = 16  # layers, and heads, that are shown at once
CELLS = 16  # of a small map, along a side


@dataclass(frozen=True)
class HeadButton:
    """One head's small map, a part of the sprite.

    Attributes:
        place: (layer, head).
        x, y: percent as text, the position of its map in the sprite.
        share: of the head's attention on the upload.
        width: percent as text, of the bar that shows the share.
    """

    place: tuple[int, int]
    x: str
    y: str
    share: str
    width: str


def overview(session: Session) -> Markup:
    """The table of small maps for the shown word; empty where no attention was recorded."""
    answer, options = session.shown.answer, session.map_options
    if answer.trace is None:
        return Markup()
    weights = answer.attention(answer.words[session.word], options.picture)
    view = answer.views[options.picture]
    layers, heads = blocks(*weights.shape[:2])[options.block]
    shown = weights[layers.start : layers.stop, heads.start : heads.stop]
    mass = shown.sum(-1)
    sheet = pictures.data_uri(sprite(shown.reshape(*shown.shape[:2], *view.grid), options.colormap), lossless=True)
    # By keyboard, Tab reaches one of the heads and the arrows the others.
    chosen = options.head if options.head and options.head[0] in layers and options.head[1] in heads else None
    return render(
        "heads",
        menus=_menus(session, weights.shape[:2]),
        layers=layers,
        heads=heads,
        rows=[(layer, [_button(layer, head, layers, heads, mass) for head in heads]) for layer in layers],
        sheet=sheet,
        pressed=options.head,
        reachable=chosen or (layers.start, heads.start),
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


def _button(layer: int, head: int, layers: range, heads: range, mass: np.ndarray) -> HeadButton:
    i, j = layer - layers.start, head - heads.start
    x, y = 100 * j / max(1, len(heads) - 1), 100 * i / max(1, len(layers) - 1)
    share = float(mass[i, j])
    return HeadButton((layer, head), f"{x:.2f}", f"{y:.2f}", percent(share), f"{100 * min(share, 1):.0f}")


def _menus(session: Session, shape: tuple[int, ...]) -> list[tuple[str, str, list[tuple[str, str]], str]]:
    """Which picture's heads, and which page of them, where there are several: (name, label, options, value)."""
    options = session.map_options
    menus = []
    if (count := len(session.shown.answer.views)) > 1:
        names = [(str(i), f"Picture {i + 1}") for i in range(count)]
        menus.append(("picture", "Picture", names, str(options.picture)))
    pages = blocks(*shape[:2])
    if len(pages) > 1:
        parts = [f"layers {a.start + 1}–{a.stop}, heads {b.start + 1}–{b.stop}" for a, b in pages]
        menus.append(("block", "Part", [(str(i), part) for i, part in enumerate(parts)], str(options.block)))
    return menus
