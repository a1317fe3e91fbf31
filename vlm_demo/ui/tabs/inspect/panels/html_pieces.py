"""Pieces: placeholder sentences, and figures formatted for people."""

from __future__ import annotations

from markupsafe import Markup

from vlm_demo.ui.components.templates import render


def nothing(sentence: str, to: str = "") -> Markup:
    """The placeholder of a tab that has nothing to show yet.

    Args:
        to: the tab to go to, if any.
    """
    return render("nothing", sentence=sentence, to=to)


def problem(sentence: str) -> Markup:
    """An error; screen readers announce it at once."""
    return render("problem", sentence=sentence)


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
    """0..1 → a percentage with as many digits as are significant."""
    if share < 0.0001:
        return "< 0.01%" if share > 0 else "0%"
    return f"{100 * share:.{0 if share >= 0.1 else 1 if share >= 0.01 else 2}f}%"
