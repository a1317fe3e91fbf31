"""Pieces: what several tabs are made of, and figures as people read them."""

from __future__ import annotations

import json
from html import escape

NOTHING = '<p class="muted empty">{}</p>'


def stack(picture: str, width: float, height: float, shapes: str) -> str:
    """Shapes in the coordinates of a ``width`` × ``height`` picture, over it."""
    return f'<div class="stack">{picture}{canvas(width, height, shapes)}</div>'


def canvas(width: float, height: float, shapes: str) -> str:
    """Shapes that lie over a picture of this size, however large it is shown."""
    return f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">{shapes}</svg>'


def folded(title: str, text: str) -> str:
    """A text that is there on demand."""
    return f'<details class="raw"><summary>{title}</summary><pre>{escape(text)}</pre></details>'


def chooses(name: str, value: object) -> str:
    """The attributes of a button that sets what is called ``name`` to ``value``, which is written as JSON."""
    return f'data-act="choose" data-name="{name}" data-value="{escape(json.dumps(value))}"'


def menu(name: str, label: str, options: list[tuple[str, str]], value: str) -> str:
    """A menu whose choice sets what is called ``name``; its texts are escaped already."""
    items = "".join(f'<option value="{key}"{" selected" * (key == value)}>{said}</option>' for key, said in options)
    return f'<select data-act="choose" name="{name}" aria-label="{label}" data-value="{value}">{items}</select>'


def size(count: float) -> str:
    """Bytes for people: decimal units, like the sizes of downloads."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def lasted(seconds: float) -> str:
    """A time in seconds, or milliseconds where it is short."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "< 1 ms"


def percent(share: float) -> str:
    """0..1 → a percentage with as many digits as tell something."""
    if share < 0.0001:
        return "< 0.01%" if share > 0 else "0%"
    return f"{100 * share:.{0 if share >= 0.1 else 1 if share >= 0.01 else 2}f}%"
