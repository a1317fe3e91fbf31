"""Sentences: what a drawn picture shows, in one sentence of eight to fourteen words, as captions of photographs are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from vlm_demo.training.worlds.areas import AREAS
from vlm_demo.training.worlds.scene_questions import FAINT, SceneAsker
from vlm_demo.training.worlds.world import Picture, article, number_word, plural_of, series_of, zone

SHORTEST, LONGEST = 8, 14  # words
FEW = 3  # sorts of things that are all named
LEADS = ("", "", "A drawing of {}", "A picture of {}", "The picture shows {}", "The image shows {}", "There is {}")
PLACES = {"left": "on the left", "right": "on the right", "center": "in the middle", "top": "at the top"}


def sentence(picture: Picture, rng: np.random.Generator) -> str:
    """A true caption of the picture, "A red circle and two blue stars on a white background."."""
    say = {"scenes": _scene, "charts": _chart, "screens": _screen, "documents": _document, "text": _lettering}
    return _fitted(say[picture.kind](picture, rng), rng, picture.kind)


def _fitted(bodies: Sequence[str], rng: np.random.Generator, kind: str) -> str:
    """One of the bodies with a lead, of the wanted length if any has it, or else the nearest to it."""
    leads = [lead for lead in LEADS if kind in ("scenes", "charts") or "drawing" not in lead]
    found = []
    for body in bodies:
        for lead in leads:
            if lead == "There is {}" and not body.startswith(("a ", "an ", "one ")):
                continue
            found.append(lead.format(body) if lead else body)
    good = [text for text in found if SHORTEST <= len(text.split()) <= LONGEST]
    text = good[int(rng.integers(len(good)))] if good else min(found, key=lambda t: abs(len(t.split()) - 11))
    return text[0].upper() + text[1:] + "."


def grouped(names: Sequence[str]) -> str:
    """Names such as "red cross", those that are alike told together: "two red crosses and a blue star"."""
    told = [article(name) if n == 1 else f"{number_word(n)} {plural_of(name)}" for name, n in Counter(names).items()]
    return series_of(told)


def _scene(picture: Picture, rng: np.random.Generator) -> list[str]:
    asker = SceneAsker(picture, rng, None)
    if picture.facts["boxes"]:
        return _boxes(asker)
    things = [thing for thing in picture.things if thing.visible >= FAINT]
    name = picture.facts["background"]
    ends = [f" on a {name} background", f" on {name}"] if name else ["", " in a simple drawing"]
    if not things:
        return [f"nothing at all to be seen{end}" for end in ends]
    n = len(things)
    order = sorted(things, key=lambda thing: thing.centre[0])
    sorts = Counter((thing.colour, thing.shape) for thing in order)
    if n == 1:
        place = zone(things[0], picture.image.size)
        where = f" {PLACES.get(place, f'at the {place}')}" if place else ""
        return [f"a single {c} {s}{where}{end}" for c, s in sorts for end in ends]
    if len(sorts) <= FEW:
        return [grouped([f"{thing.colour} {thing.shape}" for thing in order]) + end for end in [*ends, ""]]
    shapes, colours = Counter(t.shape for t in things), Counter(t.colour for t in things)
    amount = number_word(n)
    shapes_said = f"{amount} {plural_of(things[0].shape)}" if len(shapes) == 1 else f"{amount} shapes"
    if len(colours) == 1:
        shapes_said = shapes_said.replace(amount, f"{amount} {things[0].colour}")
    said = [f"{shapes_said} of {number_word(len(colours))} colours{end}" for end in ends if len(colours) > 1]
    largest = asker.made("extreme", {}, (("most", "area"), ("query", "phrase")))
    if largest is not None:
        said += [f"{shapes_said}{end}, the largest {article(largest.answer)}" for end in ["", *ends]]
    one, two = list(sorts)[0], list(sorts)[-1]
    some = [article(f"{c} {s}") if sorts[c, s] == 1 else f"{c} {plural_of(s)}" for c, s in (one, two)]
    return [*said, *(f"{shapes_said}{end}, among them {series_of(some)}" for end in ("", ends[0]))]


def _boxes(asker: SceneAsker) -> list[str]:
    counts = [len(asker.table.matching({"box": box})) for box in range(len(asker.boxes))]
    boxes = number_word(len(counts))
    words = series_of(["no" if n == 0 else number_word(n) for n in counts])
    noun = "shape" if counts[-1] == 1 else "shapes"
    return [f"{boxes} boxes side by side with {words} small {noun}", f"{boxes} boxes in a row that hold {words} {noun}"]


def _told(picture: Picture, rng: np.random.Generator) -> str | None:
    """The picture's own description, by what is seen alone, as OCR is off."""
    forms = AREAS[picture.kind].asker(picture, rng, None).forms()
    made = next(form for form in forms if form.name == "describe").make()
    return made.answer if made else None


def _chart(picture: Picture, rng: np.random.Generator) -> list[str]:
    body = _told(picture, rng) or article(picture.facts["chart"])
    ends = [""] + [" and a legend"] * bool(picture.facts.get("legend") and "," not in body)
    return [f"{body}{end}" for end in ends]


def _screen(picture: Picture, rng: np.random.Generator) -> list[str]:
    dark = "dark" if picture.facts["dark"] else "light"
    body = _told(picture, rng)
    if body is None:
        return [f"a {dark} screen with many parts of a user interface"]
    head, found, rest = body.replace("screenshot", "screen").partition(" with ")
    if found:
        parts = rest.replace(" and ", ", ").split(", ")
        while len(parts) > 1 and len(f"{head} with {series_of(parts)}".split()) > LONGEST:
            parts.pop()
        body = f"{head} with {series_of(parts)}"
        return [body, f"{body} below each other"] if len(parts) > 1 else [body, f"{body} and nothing else on it"]
    body = body.partition(" on a ")[0]
    return [f"{body} on a {dark} background", f"{body} of a user interface on a {dark} background"]


def _document(picture: Picture, rng: np.random.Generator) -> list[str]:
    facts, sort = picture.facts, picture.facts["type"]
    logo = any(thing.shape == "logo" for thing in picture.things)
    mark = "a logo" if logo else ""
    if sort == "receipt":
        n = len(facts["items"])
        long = "long " if picture.image.height > 2 * picture.image.width else ""
        return [
            f"a {long}printed receipt with {mark + ', ' if logo else ''}the goods, their prices and the total",
            f"a {long}paper receipt of a shop that lists goods and prices",
            f"a {long}slip of paper from a shop with lines of printed text",
            f"a {long}receipt that lists {number_word(n)} {'thing' if n == 1 else 'things'} that somebody has bought",
        ]
    if sort == "invoice":
        head = f"an invoice with {mark + ' and ' if logo else ''}a table of "
        return [head + "what is to be paid", head + "items and their prices"]
    if sort == "letter":
        head = "a typed letter with a logo" if logo else "a typed letter"
        return [
            f"{head} and a few lines of text on one page" if logo else f"{head} of a few lines on one page",
            f"a page with {head} to somebody",
        ]
    if sort == "table":
        rows, columns = number_word(len(facts["rows"])), number_word(len(facts["headers"]))
        title = " under a title" if facts.get("title") else ""
        return [f"a printed table of {rows} rows and {columns} columns{title}"]
    boxes = " and boxes to tick" if facts["ticks"] else ""
    return [f"a printed form with several fields to be filled in{boxes}", f"a form with labels, fields{boxes}"]


def _lettering(picture: Picture, rng: np.random.Generator) -> list[str]:
    n = len(picture.things)
    amount = f"{number_word(n)} line{'s' if n > 1 else ''} of"
    ground = article(picture.facts["ground"] or "light")
    ink = picture.facts["ink"]
    return [
        f"{amount} {ink} text on {ground} background",
        f"{amount} text in {ink} letters on {ground} background",
        f"{ink} letters on {ground} background in {number_word(n)} line{'s' if n > 1 else ''}",
    ]
