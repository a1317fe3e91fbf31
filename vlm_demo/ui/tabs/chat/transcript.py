"""Chat: a session → the conversation as HTML. Computes what its templates show.

Knows no events and no model; ``page.js`` turns presses on ``data-act`` elements into events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from vlm_demo.contracts import LEVELS
from vlm_demo.contracts.events import BridgeFacts
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.inspect.panels import checks_panel
from vlm_demo.words import bare, is_content_word

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer, Grounding

STAGE_LABELS = {
    "view": "Preparing the picture",
    "ocr": "Reading the text",
    "prompt": "Building the prompt",
    "encoder": "Encoding the picture",
    "bridge": "Translating to image tokens",
    "prefill": "Reading the prompt",
}
LOST = "The connection to this page was lost while this was being answered: press Retry to ask once more."
NOT_REPORTED = ("encoder", "bridge")  # stages that a server does not report
WAITING_FOR_SERVER = "Waiting for the server"

SIGNS = {"grounded": "●", "read": "≡", "weak": "◐", "not visible": "○", "not about the picture": "–"}
QUOTED = 32  # characters of OCR text quoted in a badge; its sentence has all of them


@dataclass(frozen=True)
class Example:
    """A picture and a question that are asked on one press. ``preview`` is a data URI."""

    name: str
    picture: bytes
    preview: str
    question: str
    ocr: bool = False
    evidence_only: bool = False


@dataclass(frozen=True)
class WordButton:
    """One word of an answer, and the text before it.

    Attributes:
        before: the answer's text between the word before and this one.
        text: the word as in the answer.
        index: among the answer's words.
        pressed: whether its map is shown.
        tint: 0..1 as text, the strength of its colour; empty = none.
        probability: 0..1 as text, of its least likely token; empty where not known.
    """

    before: str
    text: str
    index: int
    pressed: bool
    tint: str
    probability: str


def conversation(session: Session, examples: list[Example]) -> Markup:
    """All exchanges; an empty conversation shows the examples instead. The running answer is ``live``'s."""
    if not session.exchanges:
        return render("welcome", examples=examples)
    turns = [_turn(session, index) for index in range(len(session.exchanges))]
    return render("conversation", turns=turns, finished=not session.running)


def live(session: Session) -> Markup:
    """The answer that is being computed: the stage it is in, then its words so far. Empty when nothing runs."""
    exchange = session.last
    if exchange is None or not exchange.running:
        return Markup()
    stopping = exchange.stop.is_set()
    if exchange.given is not None and not stopping:
        return _reopening(session)
    if exchange.answer_text or stopping:
        return render("streaming", text=exchange.answer_text, stopping=stopping)
    if exchange.state == "waiting" or exchange.queued and exchange.ahead:
        return render("progress", doing=_waiting(exchange.ahead), stages=0, done=0)
    stages = [
        name
        for name in STAGE_LABELS
        if (name != "ocr" or exchange.ocr) and not (exchange.remote and name in NOT_REPORTED)
    ]
    done = {stage.name for stage in exchange.stages}
    ahead = next((name for name in stages if name not in done), "prefill")
    doing = WAITING_FOR_SERVER if exchange.remote and ahead == "prefill" else STAGE_LABELS[ahead]
    return render("progress", doing=doing, stages=len(stages), done=len(done & set(stages)))


def _reopening(session: Session) -> Markup:
    """Which of a reopened conversation's answers is being replayed."""
    turns = session.exchanges
    done = sum(not turn.running for turn in turns)
    if turns[done].state == "waiting" and not done:
        return render("progress", doing=_waiting(turns[done].ahead), stages=0, done=0)
    doing = f"Reading the saved answers: {done + 1} of {len(turns)}"
    return render("progress", doing=doing, stages=len(turns), done=done)


def _waiting(ahead: int) -> str:
    """The place in the model's queue, counting the questions of other pages."""
    return "Waiting for its turn" + (f": {ahead} question{'s' * (ahead != 1)} before it" if ahead else "")


def first_content_word(answer: Answer) -> int:
    """The index of the first content word, which a new answer shows first."""
    return next((i for i, word in enumerate(answer.words) if is_content_word(bare(word.text))), 0)


def _turn(session: Session, index: int) -> Markup:
    exchange = session.exchanges[index]
    return render(
        "turn",
        index=index,
        starts_afresh=index > 0 and bool(exchange.pictures),
        previews=exchange.previews,
        question=exchange.question,
        answer=_answered(session, exchange, index),
    )


def _answered(session: Session, exchange: ChatTurn, index: int) -> Markup:
    if exchange.running:
        return Markup()
    if exchange.state == "failed":
        return render("failed", sentence=exchange.problem)
    words, rest = _words(session, exchange) if exchange.answer else ([], exchange.answer_text)
    return render(
        "answer",
        turn=index,
        words=words,
        rest=rest,
        shortened=exchange.answer.shortened if exchange.answer else "",
        badge=_shown_badge(exchange),
        dots=checks_panel.dots(exchange),
        remedy=checks_panel.remedy(exchange, index),
        links=_links(exchange),
        outside=exchange.outside,
        notes=_notes(exchange),
    )


def _words(session: Session, exchange: ChatTurn) -> tuple[list[WordButton], str]:
    """The answer's words with the text between them, and the text after the last one."""
    answer, buttons, at = exchange.answer, [], 0
    for i, word in enumerate(answer.words):
        found = answer.text.find(word.text, at)
        if found < 0:
            continue
        pressed = session.shown is exchange and session.word == i
        sure = min(token.probability for token in answer.tokens[word.start : word.stop])
        tint = _tint(exchange, i)
        buttons.append(WordButton(answer.text[at:found], word.text, i, pressed, tint, f"{sure:.2f}" if sure else ""))
        at = found + len(word.text)
    return buttons, answer.text[at:]


def _tint(exchange: ChatTurn, index: int) -> str:
    """The share of the word's attention on the picture, relative to the other content words of the answer. Function
    words have none, because their attention says little."""
    words = zip(exchange.answer.words, exchange.shares, strict=True)
    attention = [share.picture if share and is_content_word(bare(word.text)) else 0.0 for word, share in words]
    return f"{attention[index] / max(attention):.2f}" if attention[index] > 0 else ""


def _shown_badge(exchange: ChatTurn) -> Markup:
    # The badge was calibrated on in-distribution pictures: on others it must not claim that the answer is grounded.
    misled = exchange.outside and exchange.grounding and exchange.grounding.level in ("grounded", "read")
    return badge(exchange.grounding) if exchange.grounding and not misled else Markup()


def _links(exchange: ChatTurn) -> list[tuple[str, str]]:
    """The line of facts under an answer, as (tab of the inspector that a part opens, its text)."""
    links = [("Stages", "stopped")] if exchange.state == "stopped" else []
    if answer := exchange.answer:
        links.append(("Stages", f"{answer.timings.total:.2f} s"))
        if exchange.given is None:  # else no word was written
            links.append(("Stages", f"first word {answer.timings.first_token:.2f} s"))
        if answer.prompt.ids:
            links.append(("What it sees", _image_tokens(exchange, answer)))
        if exchange.ocr:
            found = any(result.words for result in answer.ocrs)
            cut = any(result.left_out for result in answer.ocrs)
            links.append(("Text", ("text read in part" if cut else "text read") if found else "no text found"))
    if exchange.evidence_only:
        links.append(("Prompt", "evidence only"))
    if exchange.model:
        links.append(("Stages", f"{exchange.model.rpartition('/')[2]}, {exchange.precision}"))
    return links


def _image_tokens(exchange: ChatTurn, answer: Answer) -> str:
    """How many image tokens the language model reads. With cross-attention they are not in the prompt, which has only a
    placeholder for each picture."""
    bridge = next((stage.facts for stage in exchange.stages if isinstance(stage.facts, BridgeFacts)), None)
    cross_attention = bridge is not None and bridge.bridge.kind == "cross-attention"
    count = sum(tokens for tokens, _ in bridge.tokens) if bridge and cross_attention else answer.prompt.image_tokens
    return f"{count} image token{'s' * (count != 1)}" + (" by cross-attention" if cross_attention else "")


def badge(grounding: Grounding) -> Markup:
    """What the answer is grounded in, in a few words, and why on hover."""
    text, tab = LEVELS.get(grounding.level, grounding.level).lower(), "Heatmap"
    if grounding.level == "read":
        quote = grounding.quote
        text += f": “{quote if len(quote) <= QUOTED else quote[: QUOTED - 1] + '…'}”"
        tab = "Text"
    return render(
        "badge",
        level=grounding.level.replace(" ", "-"),
        sign=SIGNS.get(grounding.level, "○"),
        text=text,
        tab=tab,
        reason=grounding.sentence,
    )


def _notes(exchange: ChatTurn) -> list[str]:
    """What was done to the upload before the model saw it, only under the question with the upload; for a server's
    answer, what was replayed here; and that the connection was lost meanwhile."""
    views = exchange.answer.views if exchange.answer and exchange.pictures else ()
    status_notes = [exchange.replayed] if exchange.replayed else []
    status_notes += [LOST] if exchange.state == "stopped" and exchange.lost else []
    doubts = dict.fromkeys(read.note for read in exchange.answer.ocrs if read.note) if exchange.answer else ()
    return [*status_notes, *(note for view in views for note in view.notes), *doubts]
