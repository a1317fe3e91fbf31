"""Sentences: what a drawn picture shows, in one sentence of eight to fourteen words, as captions of photographs are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from vlm_demo.training.worlds.areas import AREAS
from vlm_demo.training.worlds.scene_questions import FAINT, SceneAsker
from vlm_demo.training.worlds.world import DrawnPicture, article, number_word, plural_of, series_of

SHORTEST, LONGEST = 8, 14  # words
FEW = 3  # sorts of things that are all named
LEADS = ("", "", "A drawing of {}", "A picture of {}", "The picture shows {}", "The image shows {}", "There is {}")


def sentence(picture: DrawnPicture, rng: np.random.Generator) -> str:
    """A true caption of the picture, "A red circle and two blue stars on a white background."."""
    writers = {"scenes": _scene, "charts": _chart, "screens": _screen, "documents": _document, "text": _lettering}
    bodies = writers[picture.kind](picture, rng)
    leads = [lead for lead in LEADS if picture.kind in ("scenes", "charts") or "drawing" not in lead]
    found = [
        lead.format(body) if lead else body
        for body in bodies
        for lead in leads
        if lead != "There is {}" or body.startswith(("a ", "an ", "one "))
    ]
    fitting = [text for text in found if SHORTEST <= len(text.split()) <= LONGEST]
    text = fitting[int(rng.integers(len(fitting)))] if fitting else min(found, key=lambda t: abs(len(t.split()) - 11))
    return text[0].upper() + text[1:] + "."


def grouped(names: Sequence[str]) -> str:
    """Names such as "red cross", equal ones counted together: "two red crosses and a blue star"."""
    return series_of([_amount(n, name) for name, n in Counter(names).items()])


def _amount(n: int, name: str) -> str:
    return article(name) if n == 1 else f"{number_word(n)} {plural_of(name)}"


def _scene(picture: DrawnPicture, rng: np.random.Generator) -> list[str]:
    asker = SceneAsker(picture, rng, None)
    if asker.boxes:
        counts = [len(asker.table.matching({"box": box})) for box in range(len(asker.boxes))]
        words = series_of(["no" if n == 0 else number_word(n) for n in counts])
        noun, boxes = "shape" if counts[-1] == 1 else "shapes", number_word(len(counts))
        return [
            f"{boxes} boxes side by side with {words} small {noun}",
            f"{boxes} boxes in a row that hold {words} {noun}",
        ]
    things = sorted((thing for thing in picture.things if thing.visible >= FAINT), key=lambda thing: thing.centre[0])
    background, n = picture.facts["background"], len(things)
    ends = [f" on a {background} background", f" on {background}"] if background else ["", " in a simple drawing"]
    if not things:
        return [f"nothing at all to be seen{end}" for end in ends]
    names = [f"{thing.colour} {thing.shape}" for thing in things]
    if n == 1:
        return [f"a single {names[0]}{end}" for end in (*ends, f"{ends[0]} and nothing else")]
    if len(set(names)) <= FEW:
        return [grouped(names) + end for end in [*ends, ""]]
    shapes, colours = {thing.shape for thing in things}, {thing.colour for thing in things}
    body = f"{number_word(n)} {plural_of(shapes.pop()) if len(shapes) == 1 else 'shapes'}"
    sentences = [f"{body} of {number_word(len(colours))} colours{end}" for end in ends if len(colours) > 1]
    largest = asker.build("extreme", {}, (("most", "area"), ("query", "phrase")))
    if largest is not None:
        sentences += [f"{body}{end}, the largest {article(largest.answer)}" for end in ["", *ends]]
    examples = series_of([_amount(names.count(name), name) for name in dict.fromkeys((names[0], names[-1]))])
    return [*sentences, *(f"{body}{end}, among them {examples}" for end in ("", ends[0]))]


def _description(picture: DrawnPicture, rng: np.random.Generator) -> str | None:
    """The answer to "describe", without OCR."""
    forms = AREAS[picture.kind].asker(picture, rng, None).forms()
    question = next(form for form in forms if form.name == "describe").make()
    return question.answer if question else None


def _chart(picture: DrawnPicture, rng: np.random.Generator) -> list[str]:
    body = _description(picture, rng) or ""
    return [body, *([f"{body} and a legend"] if picture.facts["legend"] else [])]


def _screen(picture: DrawnPicture, rng: np.random.Generator) -> list[str]:
    body, dark = _description(picture, rng), "dark" if picture.facts["dark"] else "light"
    if body is None:
        return [f"a {dark} screen with many parts of a user interface"]
    head, _, rest = body.replace("screenshot", "screen").partition(" with ")
    parts = rest.replace(" and ", ", ").split(", ")
    while len(parts) > 1 and len(f"{head} with {series_of(parts)}".split()) > LONGEST:
        parts.pop()
    body = f"{head} with {series_of(parts)}"
    return [body, f"{body} below each other" if len(parts) > 1 else f"{body} and nothing else on it"]


def _document(picture: DrawnPicture, rng: np.random.Generator) -> list[str]:
    facts, sort = picture.facts, picture.facts["type"]
    logo = "a logo and " if any(thing.shape == "logo" for thing in picture.things) else ""
    if sort == "receipt":
        return [
            f"a printed receipt with {logo}the goods, their prices and the total",
            f"a receipt that lists {_amount(len(facts['items']), 'thing')} that somebody has bought",
        ]
    if sort == "invoice":
        contents = ("what is to be paid", "items and their prices")
        return [f"an invoice with {logo}a table of {content}" for content in contents]
    if sort == "letter":
        return [f"a typed letter with {logo}a few lines of text on one page"]
    if sort == "table":
        rows, columns = _amount(len(facts["rows"]), "row"), _amount(len(facts["headers"]), "column")
        return [f"a printed table of {rows} and {columns}{' under a title' if facts['title'] else ''}"]
    boxes = " and boxes to tick" if facts["ticks"] else ""
    return [f"a printed form with several fields to be filled in{boxes}", f"a form with labels, fields{boxes}"]


def _lettering(picture: DrawnPicture, rng: np.random.Generator) -> list[str]:
    lines, ink = f"{_amount(len(picture.things), 'line').replace('a line', 'one line')}", picture.facts["ink"]
    background = article(picture.facts["background"] or "light")
    return [
        f"{lines} of {ink} text on {background} background",
        f"{lines} of text in {ink} letters on {background} background",
        f"{ink} letters on {background} background in {lines}",
    ]
