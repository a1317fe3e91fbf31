"""What it sees: the upload, with what the model is not shown of it, and the pixels that its encoder was given."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup
from PIL import Image

from vlm_demo.contracts import View
from vlm_demo.ui import pictures
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.inspect.panels.html_pieces import nothing

UNSEEN = "What the model's own processor makes of the picture is out of sight."
LETTER = 7  # rows of the 5 × 7 dot-matrix alphabet, about the lowest in which letters keep their shapes
Box = tuple[float, float, float, float]


def draw(exchange: ChatTurn | None) -> Markup:
    """Each picture twice: as it was uploaded, and as the model sees it."""
    if not exchange or not exchange.answer:
        return nothing("Here stands the picture as the model sees it: resized, and cut into patches.")
    views, sizes = exchange.answer.views, exchange.sizes
    titles = [f"Picture {i + 1}" * (len(views) > 1) for i in range(len(views))]
    return Markup().join(_pair(views[i], sizes[i], i, titles[i]) for i in range(len(views)))


@dataclass(frozen=True)
class Fit:
    """How an upload and the model's picture lie over each other.

    Attributes:
        seen: what the patches cover of the upload, in ``view.image``'s pixels; beyond it nothing is read.
        upload: where the whole upload lies in the processed picture, in that one's pixels; beyond it is padding.
        read: what the patches cover of the processed picture.
        shrink: (across, down), pixels of the upload that one pixel of the processed picture stands for.
    """

    seen: Box
    upload: Box
    read: Box
    shrink: tuple[float, float]


def fit(view: View, size: tuple[int, int]) -> Fit:
    """The fit of a view whose upload had ``size`` (width, height) before it was shrunk for the page."""
    rows, columns = view.grid
    height, width = view.processed.shape[:2]
    cell = (width // columns, height // rows)
    x0, y0 = (float(edge) for edge in view.boxes[:, :2].min(0))
    x1, y1 = (float(edge) for edge in view.boxes[:, 2:].max(0))
    across, down = (x1 - x0) / (columns * cell[0]), (y1 - y0) / (rows * cell[1])
    upload = (-x0 / across, -y0 / down, (view.size[0] - x0) / across, (view.size[1] - y0) / down)
    shrink = (across * size[0] / view.size[0], down * size[1] / view.size[1])
    return Fit((x0, y0, x1, y1), upload, (0, 0, columns * cell[0], rows * cell[1]), shrink)


@dataclass(frozen=True)
class Figure:
    """One picture of the pair, and what is drawn over it.

    Attributes:
        source: the picture as a data URI.
        alt: what it shows, in words.
        width, height: of the coordinates in which the shapes lie.
        caption: the sentence below it.
        pattern: the hatching's name, which no other figure has.
        hatched: the path of what is hatched, or empty.
        lines: the path of the patches' borders, or empty.
        pixels: whether single pixels are to be seen.
    """

    source: str
    alt: str
    width: int
    height: int
    caption: str
    pattern: str
    hatched: str
    lines: str = ""
    pixels: bool = False

    @property
    def step(self) -> float:
        """Between two lines of the hatching."""
        return max(self.width, self.height) / 40


def _pair(view: View, size: tuple[int, int], number: int, title: str = "") -> Markup:
    if view.grid == (1, 1):
        return _out_of_sight(view, size, number, title)
    held = fit(view, size)
    figures = [_upload(view, size, held, number), _given(view, held, number)]
    return render("model_view", title=title, figures=figures, sentences=_told(view, held))


def _out_of_sight(view: View, size: tuple[int, int], number: int, title: str) -> Markup:
    """A picture of which it is not known what the model makes."""
    caption = f"Your upload, {size[0]}×{size[1]}"
    figure = Figure(pictures.data_uri(view.image), "The upload", *view.size, caption, f"cut-{number}", "")
    return render("model_view", title=title, figures=[figure], sentences=[UNSEEN, *view.notes])


def _upload(view: View, size: tuple[int, int], held: Fit, number: int) -> Figure:
    whole = (0.0, 0.0, float(view.size[0]), float(view.size[1]))
    lost = _without(whole, held.seen)
    caption = f"Your upload, {size[0]}×{size[1]}" + (" · hatched: cut away" if lost else "")
    alt = "The upload; what the model is not shown is hatched"
    return Figure(pictures.data_uri(view.image), alt, *view.size, caption, f"cut-{number}", lost)


def _given(view: View, held: Fit, number: int) -> Figure:
    rows, columns = view.grid
    height, width = view.processed.shape[:2]
    whole = (0.0, 0.0, float(width), float(height))
    padding, unread = _without(whole, held.upload), _without(whole, held.read)
    down, across = held.read[3] / rows, held.read[2] / columns
    lines = "".join(f"M0 {down * r:.2f}H{held.read[2]:.2f}" for r in range(rows + 1))
    lines += "".join(f"M{across * c:.2f} 0V{held.read[3]:.2f}" for c in range(columns + 1))
    caption = f"What the model sees, {width}×{height} in {rows}×{columns} = {rows * columns} patches"
    caption += " · hatched: padding" * bool(padding) + " · hatched edge: not read" * bool(unread)
    source = pictures.data_uri(Image.fromarray(view.processed), lossless=True)
    alt = "The picture as the model sees it, in patches"
    return Figure(source, alt, width, height, caption, f"pad-{number}", padding + unread, lines, pixels=True)


def _without(whole: Box, part: Box) -> str:
    """The path of ``whole`` less ``part``; empty where less than a half pixel is left of it on every side."""
    x0, y0, x1, y1 = (max(whole[0], part[0]), max(whole[1], part[1]), min(whole[2], part[2]), min(whole[3], part[3]))
    if max(x0 - whole[0], y0 - whole[1], whole[2] - x1, whole[3] - y1) < 0.5:
        return ""
    outer = f"M{whole[0]:.1f} {whole[1]:.1f}H{whole[2]:.1f}V{whole[3]:.1f}H{whole[0]:.1f}Z"
    return f"{outer}M{x0:.1f} {y0:.1f}H{x1:.1f}V{y1:.1f}H{x0:.1f}Z"


def _told(view: View, held: Fit) -> list[str]:
    """What was done to the upload, in sentences."""
    across, down = held.shrink
    cell = held.read[2] / view.grid[1], held.read[3] / view.grid[0]
    told = [f"Each patch stands for about {across * cell[0]:.0f}×{down * cell[1]:.0f} pixels of the upload."]
    if down > 1.05:
        told.append(
            f"{across:.1f}×{down:.1f} pixels of the upload become one, so letters lower than about {LETTER * down:.0f} "
            "pixels are blurred away; reading text (OCR) works on the full upload."
        )
    elif down < 0.95:
        told.append(f"The upload was enlarged {1 / down:.1f} times; that adds no detail.")
    if abs(across / down - 1) > 0.02:
        told.append(f"Its shape was changed: sides that were {across / down:.2f} to 1 are now equal.")
    return [*told, *view.notes]
