"""What it sees: the upload, with the part that is cut away, and the pixels that the encoder received."""

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
LETTER = 7  # rows of a 5 × 7 dot-matrix font, about the lowest in which letters are legible
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
    """How an upload and the processed picture map onto each other.

    Attributes:
        seen: what the patches cover of the upload, in ``view.image``'s pixels; beyond it nothing is read.
        upload: the box of the whole upload in the processed picture's pixels; beyond it is padding.
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
class ViewFigure:
    """One picture of the pair, and what is drawn over it.

    Attributes:
        source: the picture as a data URI.
        alt: what it shows, in words.
        width, height: of the shapes' coordinates.
        caption: the sentence below it.
        pattern: the hatching's id, unique on the page.
        hatched: the path of what is hatched, or empty.
        lines: the path of the patches' borders, or empty.
        pixels: whether pixels are drawn without smoothing.
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
    fitted = fit(view, size)
    figures = [_upload(view, size, fitted, number), _processed(view, fitted, number)]
    return render("model_view", title=title, figures=figures, sentences=_sentences(view, fitted))


def _out_of_sight(view: View, size: tuple[int, int], number: int, title: str) -> Markup:
    """A picture whose processing by the model is unknown."""
    caption = f"Your upload, {size[0]}×{size[1]}"
    figure = ViewFigure(pictures.data_uri(view.image), "The upload", *view.size, caption, f"cut-{number}", "")
    return render("model_view", title=title, figures=[figure], sentences=[UNSEEN, *view.notes])


def _upload(view: View, size: tuple[int, int], fitted: Fit, number: int) -> ViewFigure:
    whole = (0.0, 0.0, float(view.size[0]), float(view.size[1]))
    lost = _without(whole, fitted.seen)
    caption = f"Your upload, {size[0]}×{size[1]}" + (" · hatched: cut away" if lost else "")
    alt = "The upload; what the model is not shown is hatched"
    return ViewFigure(pictures.data_uri(view.image), alt, *view.size, caption, f"cut-{number}", lost)


def _processed(view: View, fitted: Fit, number: int) -> ViewFigure:
    rows, columns = view.grid
    height, width = view.processed.shape[:2]
    whole = (0.0, 0.0, float(width), float(height))
    padding, unread = _without(whole, fitted.upload), _without(whole, fitted.read)
    down, across = fitted.read[3] / rows, fitted.read[2] / columns
    lines = "".join(f"M0 {down * r:.2f}H{fitted.read[2]:.2f}" for r in range(rows + 1))
    lines += "".join(f"M{across * c:.2f} 0V{fitted.read[3]:.2f}" for c in range(columns + 1))
    caption = f"What the model sees, {width}×{height} in {rows}×{columns} = {rows * columns} patches"
    caption += " · hatched: padding" * bool(padding) + " · hatched edge: not read" * bool(unread)
    source = pictures.data_uri(Image.fromarray(view.processed), lossless=True)
    alt = "The picture as the model sees it, in patches"
    return ViewFigure(source, alt, width, height, caption, f"pad-{number}", padding + unread, lines, pixels=True)


def _without(whole: Box, part: Box) -> str:
    """The path of ``whole`` less ``part``; empty where less than a half pixel is left of it on every side."""
    x0, y0, x1, y1 = (max(whole[0], part[0]), max(whole[1], part[1]), min(whole[2], part[2]), min(whole[3], part[3]))
    if max(x0 - whole[0], y0 - whole[1], whole[2] - x1, whole[3] - y1) < 0.5:
        return ""
    outer = f"M{whole[0]:.1f} {whole[1]:.1f}H{whole[2]:.1f}V{whole[3]:.1f}H{whole[0]:.1f}Z"
    return f"{outer}M{x0:.1f} {y0:.1f}H{x1:.1f}V{y1:.1f}H{x0:.1f}Z"


def _sentences(view: View, fitted: Fit) -> list[str]:
    """How the upload was processed, in sentences."""
    across, down = fitted.shrink
    cell = fitted.read[2] / view.grid[1], fitted.read[3] / view.grid[0]
    sentences = [f"Each patch stands for about {across * cell[0]:.0f}×{down * cell[1]:.0f} pixels of the upload."]
    if down > 1.05:
        sentences.append(
            f"{across:.1f}×{down:.1f} pixels of the upload become one, so letters lower than about {LETTER * down:.0f} "
            "pixels are blurred away; reading text (OCR) works on the full upload."
        )
    elif down < 0.95:
        sentences.append(f"The upload was enlarged {1 / down:.1f} times; that adds no detail.")
    if abs(across / down - 1) > 0.02:
        sentences.append(f"Its shape was changed: sides that were {across / down:.2f} to 1 are now equal.")
    return [*sentences, *view.notes]
