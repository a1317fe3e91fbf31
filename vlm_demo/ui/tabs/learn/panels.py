"""Panels: one answer and what was found inside it → the HTML of the tab's parts. Computes what the templates show."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from vlm_demo.contracts.anatomy import TEMPERATURES
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.inspect.panels.html_pieces import lasted, nothing, percent
from vlm_demo.ui.tabs.learn import losses, stages, thumbnails
from vlm_demo.ui.tabs.learn.about import source
from vlm_demo.ui.tabs.learn.lesson import Lesson, Patches, looks_most, stays_from, token_of

if TYPE_CHECKING:
    from vlm_demo.ui.tabs.learn.losses import Contrast, Match, NextWord
    from vlm_demo.ui.tabs.learn.stages import Stage

ROWS = 12  # layers that a lens shows at first
LISTED = 6  # next words that are shown at first
LABELLED = 0.1  # of the whole time; what is shorter has no room for its name
EMPTY = "Ask something in Chat first: this tab shows what went on inside its answer."
BUSY = "An answer is being written in Chat: it is shown here when it is there."
READING = "Reading the answer once more, to look inside …"
OTHERS = "all others"
NO_LENS = "This answer is empty: there is no word to look at."


@dataclass(eq=False)
class Study:
    """What the tab knows of one answer.

    Attributes:
        lesson: what was found inside; None until it was looked for.
        problem: why nothing was found.
        text: what ITC and ITM compare with the picture, where the person changed it.
        contrast, match, lm: the losses, as far as they were computed.
        refused: of "ITC" and "ITM", why it could not be computed.
        doing: what is being computed, in words.
    """

    lesson: Lesson | None = None
    problem: str = ""
    text: str = ""
    contrast: Contrast | None = None
    match: Match | None = None
    lm: NextWord | None = None
    refused: dict[str, str] = field(default_factory=dict)
    doing: str = ""


# -- the road -------------------------------------------------------------------------------------------------------


def road(exchange: ChatTurn, study: Study, word: int, number: int) -> Markup:
    """The boxes, and a line on which each is as long as its time."""
    boxes = stages.of(exchange, study.lesson, word, number)
    timed = [(box, box.seconds or 0.0) for box in boxes]
    whole = sum(seconds for _, seconds in timed) or 1.0
    line = [
        (
            box,
            f"{100 * seconds / whole:.4f}",
            f"{box.title} {100 * seconds / whole:.0f} %" if seconds / whole >= LABELLED else "",
        )
        for box, seconds in timed
        if seconds
    ]
    answer = exchange.answer
    drawing = next((box.time for box in boxes if box.name == "explain" and box.seconds), "")
    return render(
        "learn_road",
        stages=boxes,
        line=line,
        said=answer.text.strip(),
        total=f"{answer.timings.total:.2f} s" + (f" and {drawing} for a map" if drawing else ""),
        pictures=len(answer.views),
        number=number,
    )


def notes(exchange: ChatTurn, study: Study, word: int, number: int) -> Markup:
    """What each stage does, and all that was measured of it."""
    return render("learn_notes", stages=_told(stages.of(exchange, study.lesson, word, number)))


def _told(boxes: list[Stage]) -> list[Stage]:
    return [box for box in boxes if box.about]


# -- logit lens -----------------------------------------------------------------------------------------------------


def lens(exchange: ChatTurn, study: Study, word: int) -> Markup:
    """What each layer would have written in place of a word, and how much it looked at the picture."""
    if study.lesson is None:
        return _not_yet(study)
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
        "sure": _rounded(found.lens.probabilities[:, tokens]),
        "same": [[int(id_ == answer.tokens[token].id) for id_, token in zip(row, tokens, strict=True)]
                 for row in found.lens.ids[:, tokens].tolist()],
        "second": _rounded(second[:, tokens]),
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


def _not_yet(study: Study) -> Markup:
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


def _rounded(values: Any) -> list[list[float]]:
    return [[round(float(value), 4) for value in row] for row in values]


# -- features and the next word -------------------------------------------------------------------------------------


def features(exchange: ChatTurn, study: Study, word: int, number: int) -> Markup:
    """The patches' vectors before the bridge and after it in colours, and the likeliest next words."""
    if study.lesson is None:
        return _not_yet(study)
    answer, lesson = exchange.answer, study.lesson
    after = "what cross-attention reads" if any(lesson.anatomy.lens.crossing) else "after the bridge"
    figures = [_figure(lesson.before[number], "before the bridge"), _figure(lesson.after[number], after)]
    found = lesson.anatomy.candidates
    tokens = [token_of(answer, own) for own in answer.words]
    numbers: dict[str, Any] = {
        "words": [own.text for own in answer.words],
        "texts": [[shown(text) for text in found.texts[token]] for token in tokens],
        "logits": _rounded(found.logits[tokens]) if tokens else [],
        "written": [_place(found.ids[token].tolist(), answer.tokens[token].id) for token in tokens],
        "totals": _rounded(found.totals[tokens]) if tokens else [],
        "temperatures": list(TEMPERATURES),
    }
    return render(
        "learn_features",
        figures=figures,
        picture=f" of picture {number + 1}" if len(answer.views) > 1 else "",
        numbers=numbers,
        word=word,
        rows=_chances(numbers, word),
        listed=LISTED,
        last=len(TEMPERATURES) - 1,
        middle=TEMPERATURES.index(1.0),
        kept=len(found.texts[0]) if found.texts else 0,
        source=source("colours"),
    )


@dataclass(frozen=True)
class _Figure:
    """One of the two pictures, and what stands below it."""

    source: str
    ratio: str
    alt: str
    caption: str
    remark: str


def _figure(own: Patches, where: str) -> _Figure:
    rows, columns = own.grid or thumbnails.laid(len(own.colours))
    remark = f"{100 * own.kept:.0f} % of the variance"
    if own.grid is None:
        remark += "; in order, for they stand for no places"
    return _Figure(
        source=thumbnails.patches_image(own.colours, own.grid),
        ratio=f"{columns / rows:.4f}",
        alt=f"The vectors {where}, each as one square",
        caption=f"{where} · {len(own.colours)}×{own.width}",
        remark=remark,
    )


def _place(ids: list[int], wanted: int) -> int:
    return ids.index(wanted) if wanted in ids else -1


def _chances(numbers: dict[str, Any], word: int) -> list[tuple[str, str, str, bool]]:
    """(text, width of the bar, percentage, whether it was written) of each candidate at temperature 1, and of all other
    tokens together."""
    if not numbers["logits"]:
        return []
    total = numbers["totals"][word][TEMPERATURES.index(1.0)]
    shares = [math.exp(logit - total) for logit in numbers["logits"][word]]
    named = [*zip(numbers["texts"][word], shares, strict=True), (OTHERS, max(0.0, 1 - sum(shares)))]
    written = numbers["written"][word]
    return [(text, f"{100 * own:.2f}", f"{100 * own:.1f} %", i == written) for i, (text, own) in enumerate(named)]


# -- losses ---------------------------------------------------------------------------------------------------------


def three_losses(exchange: ChatTurn, study: Study) -> Markup:
    """ITC, ITM and LM, each with its formula and this picture's and text's own numbers."""
    answer = exchange.answer
    lm = study.lm
    words = []
    if lm:
        longest = max(lm.surprises) or 1.0
        for i, own in enumerate(answer.words):
            surprise = sum(lm.surprises[own.start : own.stop])
            words.append((i, own.text, f"{min(100.0, 100 * surprise / longest):.0f}", f"{surprise:.2f}"))
    return render(
        "learn_losses",
        text=study.text or answer.text.strip(),
        contrast=study.contrast,
        match=study.match,
        lm=lm,
        words=words,
        blank="" if lm is None or lm.blank is None else f"{math.exp(min(lm.blank, 700)):.3g}",
        refused=study.refused,
        doing=study.doing,
        negatives=losses.others(study.text or answer.text),
        source=source("losses"),
        scorer=source("scores"),
    )
