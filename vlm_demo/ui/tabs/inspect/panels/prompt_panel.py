"""Prompt: the exact token sequence that the language model was given, in runs of one origin, image tokens folded."""

from __future__ import annotations

from html import escape

from vlm_demo.contracts import Prompt, Segment
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.tabs.inspect.panels.html_pieces import NOTHING, folded

NEWLINE = '<i class="newline">↵</i>\n'
LISTED = 300  # tokens of a run that are listed one by one
ORIGINS = {
    "template": "chat template",
    "history": "earlier turn",
    "image": "image",
    "ocr": "text in the picture",
    "question": "question",
    "rule": "evidence rule",
}


def draw(exchange: ChatTurn | None) -> str:
    """All runs in their order, each with its tokens on demand, and a legend of the origins that occur."""
    if not exchange or not exchange.answer:
        return NOTHING.format("Here stands exactly what the language model is given, token by token.")
    given = exchange.answer.prompt
    runs = "".join(_run(given, segment) for segment in given.segments)
    texts = len(given.ids) - given.image_tokens
    present = {segment.kind for segment in given.segments}
    legend = "".join(f'<span class="key {kind}">{name}</span>' for kind, name in ORIGINS.items() if kind in present)
    return (
        f'<p class="muted">{len(given.ids)} tokens = {given.image_tokens} image + {texts} text, in this order. '
        f'Press a number of tokens to see them one by one.</p><p class="muted legend">{legend}</p>'
        f'<div class="prompt" role="list">{runs}</div>{folded("The filled template as text", given.text)}'
    )


def _run(given: Prompt, segment: Segment) -> str:
    count = segment.stop - segment.start
    text = f"⟨image⟩ × {count}" if segment.kind == "image" else escape(segment.text).replace("\n", NEWLINE)
    return (
        f'<div class="run {escape(segment.kind)}" role="listitem"><span class="origin">'
        f"{ORIGINS.get(segment.kind, escape(segment.kind))}</span><code>{text}</code>{_tokens(given, segment)}</div>"
    )


def _tokens(given: Prompt, segment: Segment) -> str:
    """How many there are, and on demand their ids and what the vocabulary calls them. Image tokens are all the same."""
    count = segment.stop - segment.start
    said = f"{count} token{'s' * (count != 1)}"
    if not given.pieces:
        return f'<span class="count">{said}</span>'
    stop = segment.start + 1 if segment.kind == "image" else min(segment.stop, segment.start + LISTED)
    listed = "".join(
        f"<li><code>{escape(given.pieces[i])}</code><small>{given.ids[i]}</small></li>"
        for i in range(segment.start, stop)
    )
    rest = segment.stop - stop
    listed += f"<li>… the same {rest} times more</li>" if rest and segment.kind == "image" else ""
    listed += f"<li>… and {rest} more</li>" if rest and segment.kind != "image" else ""
    return f'<details class="count"><summary>{said}</summary><ol>{listed}</ol></details>'
