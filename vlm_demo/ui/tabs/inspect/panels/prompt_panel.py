"""Prompt: the exact token sequence that the language model was given, in runs of one origin, image tokens folded."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from vlm_demo.contracts import Prompt, Segment
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.inspect.panels.html_pieces import nothing

LISTED = 300  # tokens of a run that are listed one by one
ORIGINS = {
    "template": "chat template",
    "system": "system message",
    "history": "earlier turn",
    "image": "image",
    "ocr": "text in the picture",
    "question": "question",
    "rule": "evidence rule",
}


@dataclass(frozen=True)
class TokenRun:
    """Tokens of one origin that follow each other.

    Attributes:
        kind: of the segment.
        origin: its label on the page.
        lines: its text, cut at the line breaks.
        count: how many tokens it has, in words.
        tokens: (vocabulary entry, id) of the listed ones; empty where not known.
        more: a line about those that are not listed, or empty.
    """

    kind: str
    origin: str
    lines: list[str]
    count: str
    tokens: list[tuple[str, int]]
    more: str


def draw(exchange: ChatTurn | None) -> Markup:
    """All runs in order, each with its tokens on demand, and a legend of the origins that occur."""
    if not exchange or not exchange.answer:
        return nothing("Here stands exactly what the language model is given, token by token.")
    prompt = exchange.answer.prompt
    if not prompt.ids:
        return render("messages", text=prompt.text)
    present = {segment.kind for segment in prompt.segments}
    return render(
        "prompt",
        images=prompt.image_tokens,
        texts=len(prompt.ids) - prompt.image_tokens,
        legend=[(kind, name) for kind, name in ORIGINS.items() if kind in present],
        runs=[_run(prompt, segment) for segment in prompt.segments],
        text=prompt.text,
    )


def _run(prompt: Prompt, segment: Segment) -> TokenRun:
    count = segment.stop - segment.start
    text = f"⟨image⟩ × {count}" if segment.kind == "image" else segment.text
    origin = ORIGINS.get(segment.kind, segment.kind)
    total = f"{count} token{'s' * (count != 1)}"
    return TokenRun(segment.kind, origin, text.split("\n"), total, *_tokens(prompt, segment))


def _tokens(prompt: Prompt, segment: Segment) -> tuple[list[tuple[str, int]], str]:
    """The ids and their vocabulary entries, and a line about the rest. Image tokens are all the same."""
    if not prompt.pieces:
        return [], ""
    stop = segment.start + 1 if segment.kind == "image" else min(segment.stop, segment.start + LISTED)
    rest = segment.stop - stop
    more = f"… the same {rest} times more" if segment.kind == "image" else f"… and {rest} more"
    return [(prompt.pieces[i], prompt.ids[i]) for i in range(segment.start, stop)], more if rest else ""
