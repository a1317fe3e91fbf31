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
from vlm_demo.training.worlds.asking import Made
from vlm_demo.training.worlds.chart_questions import ChartAsker
from vlm_demo.training.worlds.world import COLOURS, MARKS, SHAPES, WIDGETS, ZONES, Picture, number_word

LISTS = ("describe", "what")
# How a question with its answer is said as a claim; fields as in the question's phrasings.
CLAIMS = {
    "colour": "the {obj} is {answer}",
    "shape": "the {tint} shape is a {answer}",
    "count": "{answer} {plural}",
    "where": "the {obj} is at the {answer}",
    "extreme": "the {extreme} {wanted} is a {answer}",
    "extreme colour": "the {extreme} {wanted} is {answer}",
    "background": "on a {answer} background",
    "beside": "a {answer} is {relation} the {other}",
    "count in box": "{answer} {plural} in {box}",
    "how many boxes": "{answer} boxes",
    "chart kind": "a {answer}",
    "direction": "the bars are {answer}",
    "trend": "the {obj} goes {answer}",
    "document sort": "a {answer}",
}
# Questions that offer two answers, and the fields that these are in.
EITHER = {"fill": ("one", "two"), "size": ("one", "two"), "either state": ("state", "other")}
# Questions whose answer is yes, as claims; a word of the named field is turned into its opposite to make them false.
CONFIRMED = {
    "relation": ("the {obj} is {relation} the {other}", "relation"),
    "comparative": ("the {obj} is {comparative} than the {other}", "comparative"),
}
# Claims that say more than a list does.
FURTHER = ("where", "background", "trend", *EITHER, *CONFIRMED)
# Of areas that are not drawn in every colour, those that they are: another would tell a false caption without a look.
PALETTES = {"charts": ChartAsker.vocabulary["colour"]}
OPPOSITES = {
    one: other
    for pair in (
        "left right|above below|over under|higher lower|upper lower|larger smaller|bigger smaller|darker lighter|"
        "darker brighter|taller shorter|longer shorter|up down"
    ).split("|")
    for a, b in [pair.split()]
    for one, other in ((a, b), (b, a))
}
_CHARTS = (
    ("bar chart", "line chart", "pie chart", "scatter plot"),
    ("donut chart", "bar chart", "line chart", "scatter plot"),
    ("grouped bar chart", "stacked bar chart", "line chart", "pie chart", "scatter plot"),
)
# Sorts of words that may stand for one another.
SORTS: tuple[tuple[str, ...], ...] = (
    tuple(COLOURS),
    SHAPES,
    tuple(widget for widget in WIDGETS if widget not in ("icon", "app bar")),  # which no list names
    tuple(place for row in ZONES for place in row),
    ("large", "small"),
    ("big", "little"),
    ("hollow", "filled"),
    ("empty", "solid"),
    ("horizontal", "vertical"),
    ("dark", "light"),
    ("up", "down"),
    *_CHARTS,
    ("receipt", "invoice", "letter", "form"),  # in which there may be a table
    ("letter", "receipt", "invoice", "form", "table"),
)
# Words of a list that the others would give away: no pie chart has bars, and only lying bars are called horizontal.
FIXED = ("horizontal", *(name for sort in _CHARTS for name in sort))
# The same for a number are its neighbours; from two on, so that what is counted stays in the plural.
NUMBERS = tuple(number_word(n) for n in range(2, 13))
NEAR = (-2, -1, -1, 1, 1, 2)
MEANING = {word: trait for trait, words in WORDS.items() for word in words}
ADDED = 0.4  # of the captions: a claim after the list
TRIES = 60


@dataclass(frozen=True)
class Caption:
    """A caption that is true of its picture, and one that is not and differs in one word."""

    true: str
    wrong: str


def full(picture: Picture, rng: np.random.Generator) -> Caption | None:
    """All that is in the picture, now and then with a claim that does not follow from it: then that is what is wrong,
    as a list that contradicts the claim would give itself away."""
    made = _first(picture, rng, LISTS)
    if made is None:
        return None
    told = made.answer
    extra = claim(picture, rng, FURTHER) if rng.random() < ADDED else None
    if extra is not None:
        link = " " if extra.true.startswith("on ") else "; "
        return Caption(told + link + extra.true, told + link + extra.wrong)
    wrong = _changed(told, picture, rng)
    return Caption(told, wrong) if wrong else None


def claim(picture: Picture, rng: np.random.Generator, kinds: tuple[str, ...] = ()) -> Caption | None:
    """One thing that is true of the picture, of these kinds or of any; it may well be true of other pictures."""
    made = _first(picture, rng, kinds or (*CLAIMS, *EITHER, *CONFIRMED, "exist"))
    if made is None:
        return None
    if made.kind == "exist":
        there, absent = f"there is a {made.fields['obj']}", f"there is no {made.fields['obj']}"
        true, wrong = (there, absent) if made.answer == "yes" else (absent, there)
    elif made.kind in EITHER:
        one, two = (made.fields[name] for name in EITHER[made.kind])
        wrong = two if made.answer == one else one
        true, wrong = (f"the {made.fields['obj']} is {said}" for said in (made.answer, wrong))
    elif made.kind in CONFIRMED:
        template, name = CONFIRMED[made.kind]
        fields = made.fields | {name: _opposite(made.fields[name], rng)}
        true, wrong = template.format(**made.fields), template.format(**fields)
    else:
        template = CLAIMS[made.kind]
        other = _other(made.answer, picture, rng)
        true, wrong = (template.format(**made.fields, answer=said) for said in (made.answer, other))
    return Caption(_spelled(true), _spelled(wrong))


def _first(picture: Picture, rng: np.random.Generator, kinds: tuple[str, ...]) -> Made | None:
    """The first usable question of these kinds that the picture allows; OCR is off, as nothing here reads."""
    forms = AREAS[picture.kind].asker(picture, rng, None).forms()
    named = [form for form in forms if form.name in kinds]
    fitting = named if named and kinds == LISTS else forms
    if not fitting:
        return None
    weights = np.array([form.weight for form in fitting])
    for choice in rng.choice(len(fitting), TRIES, p=weights / weights.sum()):
        made = fitting[int(choice)].make()
        if made is not None and made.kind in kinds and _usable(made):
            return made
    return None


def _usable(made: Made) -> bool:
    """Whether the answer is a true one and another answer known."""
    if made.guess is not None or made.copied:
        return False
    if made.kind in CONFIRMED:
        words = made.fields[CONFIRMED[made.kind][1]]
        return made.answer == "yes" and any(word in OPPOSITES for word in (words, *words.split()))
    if made.kind in EITHER:
        return made.answer in [made.fields.get(name) for name in EITHER[made.kind]]
    return made.kind in LISTS or made.kind == "exist" or bool(_spans(made.answer))


def _opposite(words: str, rng: np.random.Generator) -> str:
    """The words with one direction or size turned round."""
    if words in OPPOSITES:
        return OPPOSITES[words]
    parts = words.split()
    at = [i for i, word in enumerate(parts) if word in OPPOSITES]
    turned = at[int(rng.integers(len(at)))]
    parts[turned] = OPPOSITES[parts[turned]]
    return " ".join(parts)


# For each word the first sort that it begins, or else that it is in.
ALTERNATIVES = {word: sort for sort in reversed(SORTS) for word in sort} | {sort[0]: sort for sort in reversed(SORTS)}
_NAMES = sorted({*NUMBERS, *ALTERNATIVES}, key=len, reverse=True)
_WORD = re.compile(r"\b(?:" + "|".join(map(re.escape, _NAMES)) + r")\b")
_NOUNS = sorted((*SHAPES, *MARKS, *WIDGETS), key=len, reverse=True)
_ADJECTIVES = sorted({*COLOURS, *MEANING}, key=len, reverse=True)
_PHRASE = re.compile(rf"\b((?:(?:{'|'.join(_ADJECTIVES)}) )*)({'|'.join(_NOUNS)})(?:e?s)?\b")


def _spans(text: str) -> list[tuple[int, int, list[str]]]:
    """Where a word, or several that are one name, could be another: start, end and what else may stand there."""
    found: list[tuple[int, int, list[str]]] = []
    for match in _WORD.finditer(text):
        word = match.group()
        if word in NUMBERS:
            n = NUMBERS.index(word)
            others = [NUMBERS[n + step] for step in NEAR if 0 <= n + step < len(NUMBERS)]
        else:
            others = [other for other in ALTERNATIVES[word] if other != word]
        found.append((match.start(), match.end(), others))
    return found


def _possible(text: str, picture: Picture) -> list[tuple[int, int, list[str]]]:
    """`_spans`, with none but colours that such a picture can have."""
    palette = PALETTES.get(picture.kind, tuple(COLOURS))
    kept = [
        (start, end, [other for other in others if other in palette or other not in COLOURS])
        for start, end, others in _spans(text)
    ]
    return [span for span in kept if span[2]]


def _other(answer: str, picture: Picture, rng: np.random.Generator) -> str:
    """Another answer of the same sort; of several words one is changed."""
    spans = _possible(answer, picture)
    start, end, others = spans[int(rng.integers(len(spans)))]
    return answer[:start] + others[int(rng.integers(len(others)))] + answer[end:]


def _changed(text: str, picture: Picture, rng: np.random.Generator) -> str | None:
    """The list with one word changed so that it is false of the picture, or None if that is not soon found; half of the
    time to a word that fits something else in the picture."""
    spans = [span for span in _possible(text, picture) if text[span[0] : span[1]] not in FIXED]
    seen = {word for thing in picture.things for word in (thing.shape, thing.colour)}
    for _ in range(12 if spans else 0):
        start, end, others = spans[int(rng.integers(len(spans)))]
        if rng.random() < 0.5:
            others = [other for other in others if other in seen] or others
        other = others[int(rng.integers(len(others)))]
        changed = text[:start] + other + text[end:]
        phrase = next((m for m in _PHRASE.finditer(changed) if m.start() <= start < m.end()), None)
        if phrase is None or not _fits_any(phrase.group(1).split(), phrase.group(2), picture):
            return _spelled(changed)
    return None


def _fits_any(adjectives: list[str], noun: str, picture: Picture) -> bool:
    """Whether any thing of the picture looks so."""
    return any(
        thing.shape == noun
        and all(word == thing.colour if word in COLOURS else _has(thing.traits, word) for word in adjectives)
        for thing in picture.things
    )


def _has(traits: tuple[str, ...], word: str) -> bool:
    trait = MEANING.get(word, word)
    return "hollow" not in traits if trait == "filled" else trait in traits


def _spelled(text: str) -> str:
    """With "an" where it belongs."""
    return re.sub(r"\ba (?=[aeiou])", "an ", re.sub(r"\ban (?=[^aeiou\W])", "a ", text))
