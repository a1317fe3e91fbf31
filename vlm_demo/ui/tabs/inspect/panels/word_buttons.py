"""Words: how much each attended to the pictures, and which attended to one patch."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.inspect.panels.html_pieces import percent

LISTED = 8  # words that are named for a patch
PARTS = (("picture", "picture"), ("text", "other text"), ("first", "first token"))


def shares(session: Session) -> Markup:
    """How each word's attention was divided, as a bar under it; empty where only attention on pictures is recorded."""
    exchange = session.shown
    if not any(exchange.shares):
        return Markup()
    words = [(word.text, *_share(exchange, i)) for i, word in enumerate(exchange.answer.words)]
    return render("word_shares", parts=PARTS, words=words, turn=_turn(session), shown=session.word)


def _share(exchange: ChatTurn, index: int) -> tuple[str, list[tuple[str, str]]]:
    """One word's shares as a sentence, and as (part, percent of the bar)."""
    parts = exchange.shares[index]
    weights = [(part, getattr(parts, part)) for part, _ in PARTS]
    summary = ", ".join(f"{name} {percent(weight)}" for (_, name), (_, weight) in zip(PARTS, weights, strict=True))
    return summary, [(part, f"{100 * weight:.1f}") for part, weight in weights]


def _turn(session: Session) -> int:
    return session.exchanges.index(session.shown)


def used(session: Session) -> Markup:
    """The words with the most attention on the selected patch; empty where none is selected."""
    answer, options = session.shown.answer, session.map_options
    if options.patch is None or answer.trace is None:
        return Markup()
    picture, patch = options.patch
    weights = on_patch(session)
    order = np.argsort(-weights, kind="stable")[:LISTED]
    top = float(weights[order[0]]) or 1.0
    row, column = divmod(patch, answer.views[picture].grid[1])
    return render(
        "patch_words",
        row=row + 1,
        column=column + 1,
        which=f" of picture {picture + 1}" if len(answer.views) > 1 else "",
        by=f"layer {options.head[0] + 1}, head {options.head[1] + 1}"
        if options.head
        else "mean of all layers and heads",
        words=[_used(answer.words[i].text, int(i), float(weights[i]), top) for i in order],
        turn=_turn(session),
        shown=session.word,
    )


def _used(text: str, index: int, weight: float, top: float) -> tuple[int, str, str, str]:
    """(index, word, percent of the bar, share) of one word."""
    return index, text, f"{max(1, 100 * weight / top):.0f}", percent(weight)


def on_patch(session: Session) -> np.ndarray:
    """float32 [words], the share of each word's attention on the selected patch, 0..1."""
    answer, head = session.shown.answer, session.map_options.head
    picture, patch = session.map_options.patch
    # Averaged first: the mapping of tokens to patches is the same for all heads.
    joined = answer.trace.image[:, head[0], head[1]] if head else session.shown.attention
    weights = answer.trace.on_patches(joined, picture)[:, patch]
    return np.array([weights[answer.steps(word)].mean() for word in answer.words], np.float32)
