"""Logit lens: what each layer would have written in place of a word, and how much it looked at the picture, as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.source.road_files import source
from vlm_demo.ui.tabs.inspect.panels.html_pieces import lasted, nothing, percent
from vlm_demo.ui.tabs.learn.lesson import Lesson, looks_most, stays_from, token_of

if TYPE_CHECKING:
    from vlm_demo.ui.tabs.learn.study import Study

ROWS = 12  # layers that a lens shows at first
READING = "Reading the answer once more, to look inside …"
NO_LENS = "This answer is empty: there is no word to look at."


def lens(exchange: ChatTurn, study: Study, word: int) -> Markup:
    """What each layer would have written in place of a word, and how much it looked at the picture."""
    if study.lesson is None:
        return not_yet(study)
    answer, lesson = exchange.answer, study.lesson
    if not answer.words:
        return nothing(NO_LENS)
    found = lesson.anatomy
    tokens = [token_of(answer, own) for own in answer.words]
    second = found.changes if found.image_shares is None else found.image_shares
    numbers: dict[str, Any] = {
        "words": [own.text for own in answer.words],
        "told": [_finding(lesson, token, own.text) for token, own in zip(tokens, answer.words, strict=True)],
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
    """What stands where something is still to come; the page asks again now and then."""
    return render("learn_waiting", sentence=sentence)


def not_yet(study: Study) -> Markup:
    """What stands in a panel before anything was found, or where nothing could be."""
    return nothing(study.problem) if study.problem else waiting(READING)


def _named(crossing: tuple[bool, ...]) -> list[str]:
    """The layers' names: those of the language model are counted, those between them that look at pictures say so."""
    names, count = [], 0
    for own in crossing:
        count += not own
        names.append("looks" if own else str(count))
    return names


def _finding(lesson: Lesson, token: int, word: str) -> str:
    """What the lens shows of one word, in a sentence or two."""
    lens, told = lesson.anatomy.lens, []
    names = _named(lens.crossing)
    if looked := looks_most(lesson, token):
        first, last, top = looked
        share = percent(float(lesson.anatomy.image_shares[top, token]))
        span = f"layer {names[top]}" if first == last else f"layers {names[first]} to {names[last]}"
        told.append(f"The picture is read most in {span} (at most {share}).")
    since = stays_from(lesson, token) or 0
    last_one = shown(lens.texts[-1][token])
    if since == len(names) - 1:
        told.append(f"Only the last layer settles on “{last_one}”.")
    else:
        told.append(f"From layer {names[since]} on it would write “{last_one}”.")
    if not shown(word).startswith(last_one) and lens.written[-1, token] < lens.probabilities[-1, token]:
        told.append("The answer has another word there: it was drawn by chance, or a rule forbade the likeliest.")
    return " ".join(told)


def shown(text: str) -> str:
    """A token's text, so that it can be seen."""
    return text.strip() or ("↵" if "\n" in text else "␣" if text else "∅")


def rounded(values: Any) -> list[list[float]]:
    """Numbers for the page, [rows][columns]."""
    return [[round(float(value), 4) for value in row] for row in values]
