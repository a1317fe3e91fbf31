"""Captions: what is true of a drawn picture in a few words, and the same with one word changed so that it is false.

The true ones come from the picture's own questions: "describe" and "what" are answered in a caption, and any other
question with one right answer becomes a claim once the answer stands in it ("What colour is the star?" "red." → "the
star is red"). Such a claim is certainly false with any other answer of the same sort. In a list of things a word is
changed only if no thing of the picture looks like what is then said.
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
# How a question with its answer is said as a claim; fields as in the question's phrasings.
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
CONFIRMED = {
    "relation": ("the {obj} is {relation} the {other}", "relation"),
    "comparative": ("the {obj} is {comparative} than the {other}", "comparative"),
}
FURTHER = ("where", "background", "trend", "fill", "size", *CONFIRMED)  # claims that say more than a list does
# Of an area that is not drawn in every colour, those that it is: another would tell a false caption without a look.
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
# Words of a list that the others would give away: no pie chart has bars, and only lying bars are called horizontal.
FIXED = ("horizontal", *(name for sort in _CHARTS for name in sort))
# The same for a number are its neighbours; from two on, so that what is counted stays in the plural.
NUMBERS = tuple(number_word(n) for n in range(2, 13))
NEAR = (-2, -1, -1, 1, 1, 2)
TRAITS = {word: trait for trait, words in WORDS.items() if trait != "gray" for word in words}
ADDED = 0.4  # of the captions: a claim after the list
TRIES = 60

# For each word the first sort that it begins, or else that it is in.
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
    """All that is in the picture, now and then with a claim that does not follow from it: then that is what is wrong,
    as a list that contradicts the claim would give itself away."""
    made = _first(picture, rng, LISTS)
    if made is None:
        return None
    listed = made.answer
    extra = claim(picture, rng, FURTHER) if rng.random() < ADDED else None
    if extra is not None:
        link = " " if extra.true.startswith("on ") else "; "
        return Caption(listed + link + extra.true, listed + link + extra.wrong)
    wrong = _changed(listed, picture, rng)
    return Caption(listed, wrong) if wrong else None


def claim(picture: DrawnPicture, rng: np.random.Generator, kinds: tuple[str, ...] = ()) -> Caption | None:
    """One thing that is true of the picture, of these kinds or of any; it may well be true of other pictures."""
    made = _first(picture, rng, kinds or (*CLAIMS, *CONFIRMED, "exist"))
    if made is None:
        return None
    if made.kind == "exist":
        claims = [f"there is {a} {made.fields['obj']}" for a in ("a", "no")]
        true, wrong = claims if made.answer == "yes" else claims[::-1]
    elif made.kind in CONFIRMED:
        template, name = CONFIRMED[made.kind]
        parts = made.fields[name].split()
        at = [i for i, word in enumerate(parts) if word in OPPOSITES]
        turned = at[int(rng.integers(len(at)))]
        parts[turned] = OPPOSITES[parts[turned]]
        true, wrong = template.format(**made.fields), template.format(**made.fields | {name: " ".join(parts)})
    else:
        spans = _spans(made.answer, picture)
        start, end, others = spans[int(rng.integers(len(spans)))]
        other = made.answer[:start] + others[int(rng.integers(len(others)))] + made.answer[end:]
        true, wrong = (CLAIMS[made.kind].format(**made.fields, answer=text) for text in (made.answer, other))
    return Caption(_spelled(true), _spelled(wrong))


def _first(picture: DrawnPicture, rng: np.random.Generator, kinds: tuple[str, ...]) -> Question | None:
    """The first usable question of these kinds that the picture allows; OCR is off, as nothing here reads."""
    forms = AREAS[picture.kind].asker(picture, rng, None).forms()
    forms = [form for form in forms if kinds != LISTS or form.name in LISTS]
    weights = np.array([form.weight for form in forms])
    for choice in rng.choice(len(forms), TRIES, p=weights / weights.sum()) if forms else ():
        made = forms[int(choice)].make()
        if made is not None and made.kind in kinds and made.guess is None and _usable(made, picture):
            return made
    return None


def _usable(made: Question, picture: DrawnPicture) -> bool:
    """Whether another answer is known."""
    if made.kind in CONFIRMED:
        return made.answer == "yes" and any(word in OPPOSITES for word in made.fields[CONFIRMED[made.kind][1]].split())
    return made.kind in (*LISTS, "exist") or bool(_spans(made.answer, picture))


def _spans(text: str, picture: DrawnPicture) -> list[tuple[int, int, list[str]]]:
    """Where a word, or several that are one name, could be another in such a picture: start, end and what else may
    stand there."""
    palette = PALETTES.get(picture.kind, tuple(COLOURS))
    found: list[tuple[int, int, list[str]]] = []
    for match in _WORD.finditer(text):
        word = match.group()
        if word in NUMBERS:
            n = NUMBERS.index(word)
            others = [NUMBERS[n + step] for step in NEAR if 0 <= n + step < len(NUMBERS)]
        else:
            others = [o for o in ALTERNATIVES[word] if o != word and (o in palette or o not in COLOURS)]
        found.append((match.start(), match.end(), others))
    return found


def _changed(text: str, picture: DrawnPicture, rng: np.random.Generator) -> str | None:
    """The list with one word changed so that it is false of the picture, or None if that is not soon found; half of the
    time to a word that fits something else in the picture."""
    spans = [span for span in _spans(text, picture) if text[span[0] : span[1]] not in FIXED]
    seen = {word for thing in picture.things for word in (thing.shape, thing.colour)}
    for _ in range(12 if spans else 0):
        start, end, others = spans[int(rng.integers(len(spans)))]
        if rng.random() < 0.5:
            others = [other for other in others if other in seen] or others
        changed = text[:start] + others[int(rng.integers(len(others)))] + text[end:]
        phrase = next((m for m in _PHRASE.finditer(changed) if m.start() <= start < m.end()), None)
        if phrase is None or not _fits_any(phrase.group(1).split(), phrase.group(2), picture):
            return _spelled(changed)
    return None


def _fits_any(adjectives: list[str], noun: str, picture: DrawnPicture) -> bool:
    """Whether any thing of the picture looks so."""
    has = [{thing.colour, *thing.traits, "hollow" not in thing.traits and "filled"} for thing in picture.things]
    wanted = {TRAITS.get(word, word) for word in adjectives}
    return any(thing.shape == noun and wanted <= seen for thing, seen in zip(picture.things, has, strict=True))


def _spelled(text: str) -> str:
    """With "an" where it belongs."""
    return re.sub(r"\ba (?=[aeiou])", "an ", re.sub(r"\ban (?=[^aeiou\W])", "a ", text))
