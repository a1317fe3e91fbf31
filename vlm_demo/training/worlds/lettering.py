"""Lettering: short pictures of one to four lines of text, in many fonts and colours."""

from __future__ import annotations

import textwrap

import numpy as np

from vlm_demo.training.worlds.browser import TRAINED_FONTS, page
from vlm_demo.training.worlds.scene_backgrounds import noisy
from vlm_demo.training.worlds.scene_shapes import RGB
from vlm_demo.training.worlds.values import WORDS, Values
from vlm_demo.training.worlds.world import COLOURS, DrawnPicture, Thing, brightness, drawn_colour, outline_of

CONTRAST = 95  # the least difference in brightness of letters and background, 0..255
LONGEST = 560  # pixels of a line, about
SORTS = {"sign": 0.24, "sentence": 0.24, "card": 0.12, "menu": 0.1, "hours": 0.08, "date": 0.07, "words": 0.15}


def draw_lettering(rng: np.random.Generator) -> DrawnPicture:
    """One to four lines on a plain or slightly uneven background.

    ``facts``: ``words`` and ``texts`` as of every picture; ``ink`` and ``background``, the names of the colours (the
    background's may be None); ``sort``, the sort of text.
    """
    sort, lines = _lines(Values(rng))
    background_name, background, ink_name, ink = _colours(rng)
    size = int(rng.integers(18, 64) if len(lines) > 1 else rng.integers(20, 90))
    size = max(13, min(size, int(LONGEST / (0.62 * max(len(line) for line in lines)))))
    rendered = page(
        "text.html", lines=lines, background="rgb({},{},{})".format(*background), ink="rgb({},{},{})".format(*ink),
        size=size,
        leading=float(rng.uniform(1.2, 1.7)), font=str(rng.choice(TRAINED_FONTS)), framed=bool(rng.random() < 0.25),
        align="center" if rng.random() < 0.55 else "left",
        margins=[int(size * rng.uniform(0.3, 1.8)) for _ in range(4)],
        line=1 + size // 16, round=int(size * rng.uniform(0, 0.6)), inset=int(size * rng.uniform(0.1, 0.5)),
    )  # fmt: skip
    image = noisy(rendered.image, rng, rng.uniform(2, 9)) if rng.random() < 0.2 else rendered.image
    things = tuple(
        Thing("text", ink_name, outline_of(rendered.boxes[str(i)]), text=text) for i, text in enumerate(lines)
    )
    facts = rendered.printed | {"ink": ink_name, "background": background_name, "sort": sort}
    return DrawnPicture("text", image, things, facts)


def _colours(rng: np.random.Generator) -> tuple[str | None, RGB, str, RGB]:
    """Name and value of the background, then of the letters, far apart in brightness."""
    while True:
        style = rng.random()
        if style < 0.4:
            background_name, background = "white", (255, 255, 255)
        elif style < 0.55:
            v = int(rng.integers(215, 246))
            background_name, background = None, (v, v - int(rng.integers(0, 12)), v - int(rng.integers(0, 25)))
        else:
            background_name = str(rng.choice(list(COLOURS)))
            background = drawn_colour(background_name, rng)
        ink_name = "black" if rng.random() < 0.3 else "white" if rng.random() < 0.25 else str(rng.choice(list(COLOURS)))
        ink = drawn_colour(ink_name, rng)
        if abs(brightness(ink) - brightness(background)) > CONTRAST and ink_name != background_name:
            return background_name, background, ink_name, ink


def _lines(values: Values) -> tuple[str, list[str]]:
    """The sort of the text, and its lines."""
    sort = str(values.rng.choice(list(SORTS), p=list(SORTS.values())))
    text = values.fill(values.pick(WORDS["texts"][sort]))
    if values.chance(0.12):
        text = text.upper()
    if sort == "sentence" or (sort == "sign" and values.chance(0.4)):
        return sort, textwrap.wrap(text.replace("|", " "), int(values.rng.integers(16, 34)))[:4]
    return sort, text.split("|")
