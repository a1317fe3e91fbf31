"""Words: which of them looked at the pictures, and which at one patch of them."""

from __future__ import annotations

from html import escape

import numpy as np

from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.inspect.panels.html_pieces import chooses, percent

LISTED = 8  # words that are named for a patch
PARTS = (("picture", "picture"), ("text", "other text"), ("first", "first token"))


def shares(session: Session) -> str:
    """What each word's attention rested on, as a bar under it; empty where it can rest on pictures alone."""
    exchange = session.shown
    if not any(exchange.shares):
        return ""
    legend = "".join(f'<span class="key {part}">{name}</span>' for part, name in PARTS)
    items = "".join(_share(session, exchange, i) for i in range(len(exchange.answer.words)))
    return (
        f'<section class="shares"><h3>What each word’s attention rested on</h3><p class="muted legend">{legend}</p>'
        f"<ol>{items}</ol></section>"
    )


def _share(session: Session, exchange: ChatTurn, index: int) -> str:
    parts = exchange.shares[index]
    weights = [(part, getattr(parts, part)) for part, _ in PARTS]
    told = ", ".join(f"{name} {percent(weight)}" for (_, name), (_, weight) in zip(PARTS, weights, strict=True))
    bar = "".join(f'<b class="{part}" style="width:{100 * weight:.1f}%"></b>' for part, weight in weights)
    return (
        f'<li><button type="button" class="share" {press(session, index)} title="{told}">'
        f"<span>{escape(exchange.answer.words[index].text)}</span><i>{bar}</i></button></li>"
    )


def press(session: Session, index: int) -> str:
    """The attributes of a button that shows this word's map."""
    turn = session.exchanges.index(session.shown)
    pressed = str(index == session.word).lower()
    return f'data-act="word" data-turn="{turn}" data-word="{index}" aria-pressed="{pressed}"'


def used(session: Session) -> str:
    """The words whose attention rested most on the patch that was pressed; empty where none was."""
    answer, look = session.shown.answer, session.look
    if look.patch is None or answer.trace is None:
        return ""
    picture, patch = look.patch
    weights = on_patch(session)
    order = np.argsort(-weights, kind="stable")[:LISTED]
    top = float(weights[order[0]]) or 1.0
    rows = "".join(
        f'<li><button type="button" class="link" {press(session, int(i))}>{escape(answer.words[i].text)}</button>'
        f'<i class="track"><i class="bar" style="width:{max(1, 100 * float(weights[i]) / top):.0f}%"></i></i>'
        f'<span class="figure">{percent(float(weights[i]))}</span></li>'
        for i in order
    )
    row, column = divmod(patch, answer.views[picture].grid[1])
    which = f" of picture {picture + 1}" if len(answer.views) > 1 else ""
    by = f"layer {look.head[0] + 1}, head {look.head[1] + 1}" if look.head else "mean of all layers and heads"
    return (
        f'<section class="used" aria-live="polite"><h3>Words that used this patch most'
        f'<button type="button" class="link" {chooses("patch", None)}>close</button></h3>'
        f'<p class="muted">Row {row + 1}, column {column + 1}{which}: the share of each word’s attention that rested '
        f"on it ({by}).</p><ol>{rows}</ol></section>"
    )


def on_patch(session: Session) -> np.ndarray:
    """float32 [words], the share of each word's attention on the pressed patch, 0..1."""
    answer, head = session.shown.answer, session.look.head
    picture, patch = session.look.patch
    # Joined first: what maps tokens to patches is the same for all heads.
    joined = answer.trace.image[:, head[0], head[1]] if head else session.shown.looked
    weights = answer.trace.on_patches(joined, picture)[:, patch]
    return np.array([weights[answer.steps(word)].mean() for word in answer.words], np.float32)
