"""Logit lens: what each layer would have written in place of a word, and how much it looked at the picture, as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.source.step_files import source
from vlm_demo.ui.tabs.inspect.panels.html_pieces import lasted, nothing, percent
from vlm_demo.ui.tabs.learn.anatomy_summary import AnatomySummary, looks_most, stays_from, token_of

if TYPE_CHECKING:
    from vlm_demo.ui.tabs.learn.learn_state import LearnState

ROWS = 12  # layers that a lens shows at first
WAITING = "Waiting for the models …"
READING = "Reading the answer once more, to look inside …"
NO_LENS = "This answer is empty: there is no word to look at."


def lens(exchange: ChatTurn, state: LearnState, word: int) -> Markup:
    """What each layer would have written in place of a word, and how much it looked at the picture."""
    if state.summary is None:
        return not_yet(state)
    answer, summary = exchange.answer, state.summary
    if not answer.words:
        return nothing(NO_LENS)
    found = summary.anatomy
    tokens, words = [token_of(answer, item) for item in answer.words], [item.text for item in answer.words]
    second = found.changes if found.image_shares is None else found.image_shares
    numbers: dict[str, Any] = {
        "words": words,
        "findings": [_finding(summary, token, text) for token, text in zip(tokens, words, strict=True)],
        "texts": [[shown(row[token]) for token in tokens] for row in found.lens.texts],
        "sure": rounded(found.lens.probabilities[:, tokens]),
        "same": [[int(id_ == answer.tokens[token].id) for id_, token in zip(row, tokens, strict=True)]
                 for row in found.lens.ids[:, tokens].tolist()],
        "second": rounded(second[:, tokens]),
    }  # fmt: skip
    count = len(found.lens.ids)
    first = {round(i * (count - 1) / (ROWS - 1)) for i in range(ROWS)} if count > ROWS else set(range(count))
    rows = [
        (
            name,
            crossing,
            i in first,
            numbers["texts"][i][word],
            numbers["sure"][i][word],
            numbers["same"][i][word],
            numbers["second"][i][word],
        )
        for i, (name, crossing) in enumerate(zip(_named(found.lens.crossing), found.lens.crossing, strict=True))
    ]
    return render(
        "learn_lens",
        numbers=numbers,
        rows=rows,
        word=word,
        count=len(answer.words),
        heading="image attention" if found.image_shares is not None else "change of state",
        looks=any(found.lens.crossing),
        changes=found.image_shares is None,
        hidden=count - len(first),
        layers=count,
        seconds=lasted(found.seconds),
        source=source("anatomy"),
    )


def waiting(sentence: str) -> Markup:
    """A placeholder for a pending result; the page polls for it."""
    return render("learn_waiting", sentence=sentence)


def not_yet(state: LearnState) -> Markup:
    """A panel's placeholder before the anatomy was computed, or where it could not be."""
    return nothing(state.problem) if state.problem else waiting(READING if state.reading else WAITING)


def _named(crossing: tuple[bool, ...]) -> list[str]:
    """The layers' names: the language model's are numbered, cross-attention layers between them are named "looks"."""
    names, count = [], 0
    for crosses in crossing:
        count += not crosses
        names.append("looks" if crosses else str(count))
    return names


def _finding(summary: AnatomySummary, token: int, word: str) -> str:
    """What the logit lens shows of one word, in a sentence or two."""
    lens, sentences = summary.anatomy.lens, []
    names = _named(lens.crossing)
    if looked := looks_most(summary, token):
        first, last, top = looked
        share = percent(float(summary.anatomy.image_shares[top, token]))
        span = f"layer {names[top]}" if first == last else f"layers {names[first]} to {names[last]}"
        sentences.append(f"The picture is read most in {span} (at most {share}).")
    since = stays_from(summary, token) or 0
    last_one = shown(lens.texts[-1][token])
    if since == len(names) - 1:
        sentences.append(f"Only the last layer settles on “{last_one}”.")
    else:
        sentences.append(f"From layer {names[since]} on it would write “{last_one}”.")
    if not shown(word).startswith(last_one) and lens.written[-1, token] < lens.probabilities[-1, token]:
        sentences.append("The answer has another word there: it was drawn by chance, or a rule forbade the likeliest.")
    return " ".join(sentences)


def shown(text: str) -> str:
    """A token's text, so that it can be seen."""
    return text.strip() or ("↵" if "\n" in text else "␣" if text else "∅")


def rounded(values: Any) -> list[list[float]]:
    """Numbers for the page, [rows][columns]."""
    return [[round(float(value), 4) for value in row] for row in values]
