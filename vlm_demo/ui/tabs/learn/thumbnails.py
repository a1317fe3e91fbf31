"""Thumbnails: the small pictures of the stages' boxes, drawn from the request's numbers."""

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
    from vlm_demo.ui.tabs.learn.anatomy_summary import AnatomySummary, Patches

SQUARES = 400  # at most; of a longer prompt each represents several tokens


def patches_image(cells: np.ndarray, grid: tuple[int, int] | None) -> str:
    """One pixel for each vector, [n, 3] of bytes, as a data URI: on the picture's grid, or where there is none, in
    rows."""
    rows, columns = grid or square_grid(len(cells))
    pixels = np.zeros((rows * columns, 4), np.uint8)
    pixels[: len(cells), :3], pixels[: len(cells), 3] = cells, 255
    return pictures.file_uri("image/png", pictures.png(Image.fromarray(pixels.reshape(rows, columns, 4))))


def norms_image(patches: Patches) -> str:
    """One pixel for each vector, lighter for a larger norm."""
    low, high = float(patches.norms.min()), float(patches.norms.max())
    levels = (patches.norms - low) / (high - low) if high - low > 1e-6 * abs(high) else np.full_like(patches.norms, 0.5)
    return patches_image(palette("inferno")[(levels * 255).astype(np.uint8)], patches.grid)


def square_grid(count: int) -> tuple[int, int]:
    """Rows and columns of about a square that holds ``count``."""
    columns = max(1, int(np.ceil(count**0.5)))
    return -(-count // columns), columns


def picture(source: str, alt: str, pixels: bool = False) -> Markup:
    """A picture; ``pixels``: whether its pixels are drawn without smoothing."""
    return render("learn_figure", kind="picture", source=source, alt=alt, pixels=pixels)


def tile(text: str) -> Markup:
    """A text in place of a picture."""
    return render("learn_figure", kind="tile", text=text)


def squares(exchange: ChatTurn) -> Markup:
    """The prompt as squares, one for each token, coloured by origin."""
    prompt = exchange.answer.prompt
    each = max(1, -(-len(prompt.ids) // SQUARES))
    count = -(-len(prompt.ids) // each)
    rows, across = square_grid(count)
    paths: dict[str, str] = {}
    for i in range(count):
        kind = next(
            (segment.kind for segment in prompt.segments if segment.start <= i * each < segment.stop), "template"
        )
        y, x = divmod(i, across)
        paths[kind] = paths.get(kind, "") + f"M{x} {y}h.8v.8h-.8z"
    alt = "The prompt’s tokens" + (f", {each} a square" if each > 1 else "")
    return render("learn_figure", kind="squares", paths=paths, width=across, height=max(rows, 1), alt=alt)


def bars(summary: AnatomySummary) -> tuple[Markup, str]:
    """A bar for each layer: its attention on the picture, the mean of all tokens; or where not recorded, how much it
    changed the hidden state."""
    shares, lens = summary.anatomy.image_shares, summary.anatomy.lens
    means = (summary.anatomy.changes if shares is None else shares).mean(1)
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
