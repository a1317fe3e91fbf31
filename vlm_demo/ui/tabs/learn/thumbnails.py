"""Thumbnails: the small pictures of the boxes, made of the request's own numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from PIL import Image

from vlm_demo.images.overlay import palette
from vlm_demo.ui import pictures
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.inspect.panels.html_pieces import percent

if TYPE_CHECKING:
    from vlm_demo.ui.tabs.learn.lesson import Lesson, Patches

SQUARES = 400  # of the prompt's picture at most; in a longer one each stands for several tokens


def patches_image(cells: np.ndarray, grid: tuple[int, int] | None) -> str:
    """One pixel a vector, [n, 3] of bytes, as a data URI: on the picture's grid, or where there is none, in rows."""
    rows, columns = grid or laid(len(cells))
    pixels = np.zeros((rows * columns, 4), np.uint8)
    pixels[: len(cells), :3], pixels[: len(cells), 3] = cells, 255
    return pictures.held("image/png", pictures.png(Image.fromarray(pixels.reshape(rows, columns, 4))))


def norms_image(own: Patches) -> str:
    """One pixel a vector, the lighter the longer."""
    low, high = float(own.norms.min()), float(own.norms.max())
    levels = (own.norms - low) / (high - low) if high - low > 1e-6 * abs(high) else np.full_like(own.norms, 0.5)
    return patches_image(palette("inferno")[(levels * 255).astype(np.uint8)], own.grid)


def laid(count: int) -> tuple[int, int]:
    """Rows and columns of about a square that holds ``count``."""
    columns = max(1, int(np.ceil(count**0.5)))
    return -(-count // columns), columns


def picture(source: str, alt: str, pixels: bool = False) -> Markup:
    """A picture; ``pixels``: whether single ones are to be seen."""
    return render("learn_figure", kind="picture", source=source, alt=alt, pixels=pixels)


def tile(text: str) -> Markup:
    """A word where there is no picture."""
    return render("learn_figure", kind="tile", text=text)


def squares(exchange: ChatTurn) -> Markup:
    """The prompt as squares, one a token, by origin."""
    prompt = exchange.answer.prompt
    each = max(1, -(-len(prompt.ids) // SQUARES))
    count = -(-len(prompt.ids) // each)
    rows, across = laid(count)
    paths: dict[str, str] = {}
    for i in range(count):
        kind = next((own.kind for own in prompt.segments if own.start <= i * each < own.stop), "template")
        y, x = divmod(i, across)
        paths[kind] = paths.get(kind, "") + f"M{x} {y}h.8v.8h-.8z"
    alt = "The prompt’s tokens" + (f", {each} a square" if each > 1 else "")
    return render("learn_figure", kind="squares", paths=paths, width=across, height=max(rows, 1), alt=alt)


def bars(lesson: Lesson) -> tuple[Markup, str]:
    """A bar for each layer: how much it looked at the picture, the mean of all tokens; or where that can't be told, how
    far it moved the state."""
    shares, lens = lesson.anatomy.image_shares, lesson.anatomy.lens
    means = (lesson.anatomy.changes if shares is None else shares).mean(1)
    # The first layer makes short embeddings many times longer: drawn to scale it would be all there is to see.
    top = float(means.max() if shares is not None else np.sort(means)[-2:].min()) or 1.0
    drawn = [
        (f"{min(100.0, 100 * float(mean) / top):.1f}", crossing)
        for mean, crossing in zip(means, lens.crossing, strict=True)
    ]
    if shares is not None:
        alt = f"Attention on the image by layer, at most {percent(float(means.max()))}"
        return render("learn_figure", kind="bars", bars=drawn, alt=alt, split=False), "bars: image attention"
    alt = "How far each layer moved the words’ states; those that look at the picture stand out"
    return render("learn_figure", kind="bars", bars=drawn, alt=alt, split=True), "bars: change by layer"
