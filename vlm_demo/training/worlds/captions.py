"""Captions: a short true sentence about a drawn picture, and the same with one word changed so that it is false.

The true ones come from the picture's own questions: "describe" and "what" are answered in a caption, and any other
question with one right answer becomes a claim with the answer in it ("What colour is the star?" "red." → "the
star is red"). Such a claim is certainly false with any other answer of the same sort. In a list of things a word is
changed only if no thing of the picture fits the changed words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from vlm_demo.training.worlds.areas import AREAS
from vlm_demo.training.worlds.asker import WORDS
from vlm_demo.training.worlds.chart_questions import ChartAsker
from vlm_demo.training.worlds.question import Question
from vlm_demo.training.worlds.world import COLOURS, MARKS, PLACES, SHAPES, WIDGETS, DrawnPicture, number_word

LISTS = ("describe", "what")
# How a question with its answer becomes a claim; fields as in the question's phrasings.
CLAIMS = {
    "colour": "the {obj} is {answer}", "shape": "the {tint} shape is a {answer}", "count": "{answer} {plural}",
    "where": "the {obj} is at the {answer}", "extreme": "the {extreme} {wanted} is a {answer}",
    "extreme colour": "the {extreme} {wanted} is {answer}", "background": "on a {answer} background",
    "beside": "a {answer} is {relation} the {other}", "count in box": "{answer} {plural} in {box}",
    "how many boxes": "{answer} boxes", "chart kind": "a {answer}", "direction": "the bars are {answer}",
    "trend": "the {obj} goes {answer}", "document sort": "a {answer}", "fill": "the {obj} is {answer}",
    "size": "the {obj} is {answer}",
}  # fmt: skip
# Questions whose answer is yes, as claims; a word of the named field is turned into its opposite to make them false.
YES_CLAIMS = {
    "relation": ("the {obj} is {relation} the {other}", "relation"),
    "comparative": ("the {obj} is {comparative} than the {other}", "comparative"),
}
EXTRA_CLAIMS = ("where", "background", "trend", "fill", "size", *YES_CLAIMS)  # claims that do not follow from a list
# Of an area that is not drawn in every colour, its colours: with others a caption would be false whatever the picture.
PALETTES = {"charts": ChartAsker.vocabulary["colour"]}
OPPOSITES = {
    one: other
    for pair in (
        "left right|above below|over under|higher lower|upper lower|larger smaller|bigger smaller|darker lighter|"
        "darker brighter|taller shorter|longer shorter"
    ).split("|")
    for one, other in (pair.split(), pair.split()[::-1])
}
_CHARTS = (
    ("bar chart", "line chart", "pie chart", "scatter plot"),
    ("donut chart", "bar chart", "line chart", "scatter plot"),
    ("grouped bar chart", "stacked bar chart", "line chart", "pie chart", "scatter plot"),
)
# Sorts of words that may stand for one another.
SORTS: tuple[tuple[str, ...], ...] = (
    tuple(COLOURS), SHAPES, tuple(widget for widget in WIDGETS if widget != "icon"),
    PLACES, ("large", "small"), ("big", "little"), ("hollow", "filled"),
    ("empty", "solid"), ("horizontal", "vertical"), ("dark", "light"), ("up", "down"), *_CHARTS,
    ("receipt", "invoice", "letter", "form"), ("letter", "receipt", "invoice", "form", "table"),
)  # fmt: skip
# Words of a list that others contradict: no pie chart has bars, and only horizontal bars are called so.
UNCHANGED = ("horizontal", *(name for sort in _CHARTS for name in sort))
# The same for a number are its neighbours; from two on, so that what is counted stays in the plural.
NUMBERS = tuple(number_word(n) for n in range(2, 13))
OFFSETS = (-2, -1, -1, 1, 1, 2)
TRAITS = {word: trait for trait, words in WORDS.items() if trait != "gray" for word in words}
EXTRA_SHARE = 0.4  # of the captions: a claim after the list
TRIES = 60

# For each word the first sort that it begins, or that it is in.
ALTERNATIVES = {word: sort for sort in reversed(SORTS) for word in sort} | {sort[0]: sort for sort in reversed(SORTS)}
_WORD = re.compile(rf"\b(?:{'|'.join(sorted({*NUMBERS, *ALTERNATIVES}, key=len, reverse=True))})\b")
_NOUN = "|".join(sorted((*SHAPES, *MARKS, *WIDGETS), key=len, reverse=True))
_PHRASE = re.compile(rf"\b((?:(?:{'|'.join((*COLOURS, *TRAITS))}) )*)({_NOUN})(?:e?s)?\b")


@dataclass(frozen=True)
class Caption:
    """A caption that is true of its picture, and one that is not and differs in one word."""

    true: str
    wrong: str


def full(picture: DrawnPicture, rng: np.random.Generator) -> Caption | None:
    """All that is in the picture, sometimes with a claim that does not follow from it: then the claim is what is
    changed, as a list that contradicts it could be recognized without the picture."""
    question = _first(picture, rng, LISTS)
    if question is None:
        return None
    list_text = question.answer
    extra = claim(picture, rng, EXTRA_CLAIMS) if rng.random() < EXTRA_SHARE else None
    if extra is not None:
        separator = " " if extra.true.startswith("on ") else "; "
        return Caption(list_text + separator + extra.true, list_text + separator + extra.wrong)
    wrong = _changed(list_text, picture, rng)
    return Caption(list_text, wrong) if wrong else None


def claim(picture: DrawnPicture, rng: np.random.Generator, kinds: tuple[str, ...] = ()) -> Caption | None:
    """One thing that is true of the picture, of these kinds or of any; it may well be true of other pictures."""
    question = _first(picture, rng, kinds or (*CLAIMS, *YES_CLAIMS, "exist"))
    if question is None:
        return None
    if question.kind == "exist":
        claims = [f"there is {a} {question.fields['obj']}" for a in ("a", "no")]
        true, wrong = claims if question.answer == "yes" else claims[::-1]
    elif question.kind in YES_CLAIMS:
        template, name = YES_CLAIMS[question.kind]
        parts = question.fields[name].split()
        positions = [i for i, word in enumerate(parts) if word in OPPOSITES]
        index = positions[int(rng.integers(len(positions)))]
        parts[index] = OPPOSITES[parts[index]]
        true, wrong = template.format(**question.fields), template.format(**question.fields | {name: " ".join(parts)})
    else:
        spans = _spans(question.answer, picture)
        start, end, others = spans[int(rng.integers(len(spans)))]
        other = question.answer[:start] + others[int(rng.integers(len(others)))] + question.answer[end:]
        answers = (question.answer, other)
        true, wrong = (CLAIMS[question.kind].format(**question.fields, answer=text) for text in answers)
    return Caption(_spelled(true), _spelled(wrong))


def _first(picture: DrawnPicture, rng: np.random.Generator, kinds: tuple[str, ...]) -> Question | None:
    """The first usable question of these kinds that the picture allows; OCR is off."""
    forms = AREAS[picture.kind].asker(picture, rng, None).forms()
    forms = [form for form in forms if kinds != LISTS or form.name in LISTS]
    weights = np.array([form.weight for form in forms])
    for choice in rng.choice(len(forms), TRIES, p=weights / weights.sum()) if forms else ():
        question = forms[int(choice)].make()
        if question is not None and question.kind in kinds and question.guess is None and _usable(question, picture):
            return question
    return None


def _usable(question: Question, picture: DrawnPicture) -> bool:
    """Whether another answer is known."""
    if question.kind in YES_CLAIMS:
        words = question.fields[YES_CLAIMS[question.kind][1]].split()
        return question.answer == "yes" and any(word in OPPOSITES for word in words)
    return question.kind in (*LISTS, "exist") or bool(_spans(question.answer, picture))


def _spans(text: str, picture: DrawnPicture) -> list[tuple[int, int, list[str]]]:
    """Where a word, or several that are one name, could be another in such a picture: start, end, alternatives."""
    palette = PALETTES.get(picture.kind, tuple(COLOURS))
    found: list[tuple[int, int, list[str]]] = []
    for match in _WORD.finditer(text):
        word = match.group()
        if word in NUMBERS:
            n = NUMBERS.index(word)
            others = [NUMBERS[n + step] for step in OFFSETS if 0 <= n + step < len(NUMBERS)]
        else:
            others = [o for o in ALTERNATIVES[word] if o != word and (o in palette or o not in COLOURS)]
        found.append((match.start(), match.end(), others))
    return found


def _changed(text: str, picture: DrawnPicture, rng: np.random.Generator) -> str | None:
    """The list with one word changed so that it is false of the picture, or None if that is not soon found; half of the
    time to a word that fits something else in the picture."""
    spans = [span for span in _spans(text, picture) if text[span[0] : span[1]] not in UNCHANGED]
    words_present = {word for thing in picture.things for word in (thing.shape, thing.colour)}
    for _ in range(12 if spans else 0):
        start, end, others = spans[int(rng.integers(len(spans)))]
        if rng.random() < 0.5:
            others = [other for other in others if other in words_present] or others
        changed = text[:start] + others[int(rng.integers(len(others)))] + text[end:]
        phrase = next((m for m in _PHRASE.finditer(changed) if m.start() <= start < m.end()), None)
        if phrase is None or not _fits_any(phrase.group(1).split(), phrase.group(2), picture):
            return _spelled(changed)
    return None


def _fits_any(adjectives: list[str], noun: str, picture: DrawnPicture) -> bool:
    """Whether any thing of the picture fits."""
    traits_of = [{thing.colour, *thing.traits, "hollow" not in thing.traits and "filled"} for thing in picture.things]
    wanted = {TRAITS.get(word, word) for word in adjectives}
    pairs = zip(picture.things, traits_of, strict=True)
    return any(thing.shape == noun and wanted <= traits for thing, traits in pairs)


def _spelled(text: str) -> str:
    """With "an" where it belongs."""
    return re.sub(r"\ba (?=[aeiou])", "an ", re.sub(r"\ban (?=[^aeiou\W])", "a ", text))
