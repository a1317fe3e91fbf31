"""Chat: a session → the conversation as HTML. Every character that a person or a model wrote is escaped here.

Knows no events and no model; ``page.js`` turns presses on ``data-act`` elements into events.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from vlm_demo.contracts import LEVELS
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.session import Session
from vlm_demo.words import CUT, bare, tells

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer, Grounding

ROAD = {
    "view": "Preparing the picture",
    "ocr": "Reading the text",
    "prompt": "Building the prompt",
    "encoder": "Encoding the picture",
    "bridge": "Translating to image tokens",
    "prefill": "Reading the prompt",
}


SIGNS = {"grounded": "●", "read": "≡", "weak": "◐", "not visible": "○", "not about the picture": "–"}
QUOTED = 32  # characters of the text read that a badge names; all of them stand in its sentence


@dataclass(frozen=True)
class Example:
    """A picture and a question that are asked on one press. ``preview`` is a data URI."""

    name: str
    picture: bytes
    preview: str
    question: str
    ocr: bool = False
    evidence_only: bool = False


def conversation(session: Session, examples: list[Example]) -> str:
    """All exchanges; an empty conversation shows the examples instead. The running answer is ``live``'s."""
    if not session.exchanges:
        return _welcome(examples)
    turns = "".join(_turn(session, index) for index in range(len(session.exchanges)))
    return f'<ol class="turns" role="log" aria-label="Conversation">{turns}</ol>'


def live(session: Session) -> str:
    """The answer that is being computed: the stage it is in, then its words so far. Empty when nothing runs."""
    exchange = session.last
    if exchange is None or not exchange.running:
        return ""
    if exchange.stop.is_set():
        return f'<div class="answer"><p class="words">{escape(exchange.said)}</p><p class="truth">stopping</p></div>'
    if exchange.said:
        return f'<div class="answer"><p class="words streaming">{escape(exchange.said)}</p></div>'
    if exchange.state == "waiting":
        return _progress("Waiting for its turn")
    road = [name for name in ROAD if name != "ocr" or exchange.ocr]
    done = {stage.name for stage in exchange.stages}
    ahead = next((name for name in road if name not in done), "prefill")
    return _progress(ROAD[ahead], f' max="{len(road)}" value="{len(done & set(road))}"')


def _progress(said: str, value: str = "") -> str:
    return f'<div class="answer"><p class="truth">{said}</p><progress{value} aria-label="{said}"></progress></div>'


def first_telling_word(answer: Answer) -> int:
    """The index of the first word that names something, for the first look at a new answer."""
    return next((i for i, word in enumerate(answer.words) if tells(bare(word.text))), 0)


def _welcome(examples: list[Example]) -> str:
    cards = "".join(_card(example, index) for index, example in enumerate(examples))
    offer = f'<p class="muted">Or press an example:</p><ul class="examples">{cards}</ul>' if cards else ""
    return (
        '<div class="welcome"><h2>Ask a picture, see inside the answer</h2>'
        '<p class="muted">Drop, paste or upload a picture below and ask about it. '
        f"Then press a word of the answer to see where the model looked.</p>{offer}</div>"
    )


def _card(example: Example, index: int) -> str:
    toggles = ["reads the text"] * example.ocr + ["evidence only"] * example.evidence_only
    return (
        f'<li><button type="button" class="example" data-act="example" data-index="{index}">'
        f'<img src="{example.preview}" alt=""><span>{escape(example.question)}'
        f"<small>{', '.join(toggles)}</small></span></button></li>"
    )


def _turn(session: Session, index: int) -> str:
    exchange = session.exchanges[index]
    return (
        f'<li class="turn" data-turn="{index}">{_fresh_start(session, index)}{_asked(exchange, index)}'
        f"{_answered(session, exchange, index)}</li>"
    )


def _fresh_start(session: Session, index: int) -> str:
    if index == 0 or not session.exchanges[index].pictures:
        return ""
    return '<p class="divide"><span>new picture: earlier turns are not sent to the model</span></p>'


def _asked(exchange: ChatTurn, index: int) -> str:
    pictures = "".join(
        f'<img src="{uri}" alt="Uploaded picture {number}">' for number, uri in enumerate(exchange.previews, 1)
    )
    question = escape(exchange.question)
    shelf = f'<div class="pictures">{pictures}</div>' if pictures else ""
    return f"""<div class="asked"><div class="bubble">{shelf}<p>{question}</p></div>
<button type="button" class="quiet edit" data-act="edit" aria-label="Edit this question">Edit</button>
<form class="rewrite" data-turn="{index}" hidden><textarea rows="2" aria-label="Edited question">{question}</textarea>
<span><button type="button" class="quiet" data-act="cancel">Cancel</button>
<button type="submit" class="solid">Ask again</button></span></form></div>"""


def _answered(session: Session, exchange: ChatTurn, index: int) -> str:
    if exchange.running:
        return ""
    if exchange.state == "failed":
        return f'<div class="answer"><p class="problem" role="alert">{escape(exchange.problem)}</p></div>'
    words = _words(session, exchange, index) if exchange.answer else escape(exchange.said)
    below = _cut(exchange) + _truth(exchange) + _outside(exchange) + _notes(exchange)
    return f'<div class="answer"><p class="words">{words}</p>{below}</div>'


def _words(session: Session, exchange: ChatTurn, index: int) -> str:
    """The answer's text with each of its words as a button; what lies between words stays as it is."""
    answer, html, at = exchange.answer, [], 0
    for i, word in enumerate(answer.words):
        found = answer.text.find(word.text, at)
        if found < 0:
            continue
        pressed = session.shown is exchange and session.word == i
        sure = min(token.probability for token in answer.tokens[word.start : word.stop])
        html.append(escape(answer.text[at:found]))
        html.append(
            f'<button type="button" class="word" data-act="word" data-turn="{index}" data-word="{i}" '
            f'aria-pressed="{str(pressed).lower()}"{_tint(exchange, i)} title="probability {sure:.2f}">'
            f"{escape(word.text)}</button>"
        )
        at = found + len(word.text)
    html.append(escape(answer.text[at:]))
    return "".join(html)


def _tint(exchange: ChatTurn, index: int) -> str:
    """The deeper, the more of the word's attention rested on the picture, as against the other content words of the
    answer. Function words have none: where "a" looked says nothing."""
    words = zip(exchange.answer.words, exchange.shares, strict=True)
    looked = [share.picture if share and tells(bare(word.text)) else 0.0 for word, share in words]
    return f' style="--look:{looked[index] / max(looked):.2f}"' if looked[index] > 0 else ""


def _truth(exchange: ChatTurn) -> str:
    """The one line of truth under an answer; its parts open the inspector's tabs."""
    # The badge was calibrated on pictures of the model's world: on others it must not say that all is well.
    misled = exchange.outside and exchange.grounding and exchange.grounding.level in ("grounded", "read")
    parts = [badge(exchange.grounding)] if exchange.grounding and not misled else []
    parts += [_opens("Stages", "stopped")] if exchange.state == "stopped" else []
    if answer := exchange.answer:
        parts += [
            _opens("Stages", f"{answer.timings.total:.2f} s"),
            _opens("Stages", f"first word {answer.timings.first_token:.2f} s"),
            _opens("What it sees", f"{answer.prompt.image_tokens} image tokens"),
        ]
        if exchange.ocr:
            found = any(result.words for result in answer.ocrs)
            parts.append(_opens("Text", "text read" if found else "no text found"))
    if exchange.evidence_only:
        parts.append(_opens("Prompt", "evidence only"))
    return f'<p class="truth">{" · ".join(parts)}</p>'


def badge(grounding: Grounding) -> str:
    """What the answer rests on, in a few words, and why on hover."""
    level, sign = grounding.level.replace(" ", "-"), SIGNS.get(grounding.level, "○")
    said, tab = LEVELS.get(grounding.level, grounding.level).lower(), "Heatmap"
    if grounding.level == "read":
        quote = grounding.quote
        said += f": “{quote if len(quote) <= QUOTED else quote[: QUOTED - 1] + '…'}”"
        tab = "Text"
    return (
        f'<button type="button" class="link badge {level}" data-act="open" data-tab="{tab}" '
        f'title="{escape(grounding.sentence)}"><i aria-hidden="true">{sign}</i> {escape(said)}</button>'
    )


def _opens(tab: str, text: str) -> str:
    return f'<button type="button" class="link" data-act="open" data-tab="{tab}">{escape(text)}</button>'


def _cut(exchange: ChatTurn) -> str:
    return f'<p class="truth">{CUT}</p>' if exchange.answer and exchange.answer.cut else ""


def _outside(exchange: ChatTurn) -> str:
    if not exchange.outside:
        return ""
    sentence, command = exchange.outside
    offer = f" <code>{escape(command)}</code>" if command else ""
    return f'<aside class="outside">{escape(sentence)}{offer}</aside>'


def _notes(exchange: ChatTurn) -> str:
    """What was done to the upload before the model saw it, said once: under the question that brought it."""
    views = exchange.answer.views if exchange.answer and exchange.pictures else ()
    notes = [note for view in views for note in view.notes]
    return "".join(f'<p class="truth">{escape(note)}</p>' for note in notes)
