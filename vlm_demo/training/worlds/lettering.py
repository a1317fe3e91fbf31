"""Lettering: short pictures of one to four lines of text, in many fonts and colours."""

from __future__ import annotations

import textwrap

import numpy as np

from vlm_demo.training.worlds.browser import TRAINED_FONTS, page
from vlm_demo.training.worlds.scene_grounds import noisy
from vlm_demo.training.worlds.scene_shapes import RGB
from vlm_demo.training.worlds.values import WORDS, Values
from vlm_demo.training.worlds.world import COLOURS, Picture, Thing, brightness, drawn_colour, outline_of

CONTRAST = 95  # of the brightness of letters and ground, of 0..255
LONGEST = 560  # pixels of a line, about


def draw_lettering(rng: np.random.Generator) -> Picture:
    """One to four lines on a plain or slightly uneven ground.

    ``facts``: ``words`` and ``texts`` as of every picture; ``ink`` and ``ground``, the names of the colours (the
    ground's may be None); ``holds``, what sort of text it is.
    """
    holds, lines = _lines(Values(rng))
    ground_name, ground, ink_name, ink = _colours(rng)
    size = int(rng.integers(18, 64) if len(lines) > 1 else rng.integers(20, 90))
    size = max(13, min(size, int(LONGEST / (0.62 * max(len(line) for line in lines)))))
    made = page(
        "text.html", lines=lines, ground="rgb({},{},{})".format(*ground), ink="rgb({},{},{})".format(*ink), size=size,
        leading=float(rng.uniform(1.2, 1.7)), font=str(rng.choice(TRAINED_FONTS)), framed=bool(rng.random() < 0.25),
        align="center" if rng.random() < 0.55 else "left",
        margins=[int(size * rng.uniform(0.3, 1.8)) for _ in range(4)],
        line=1 + size // 16, round=int(size * rng.uniform(0, 0.6)), inset=int(size * rng.uniform(0.1, 0.5)),
    )  # fmt: skip
    image = noisy(made.image, rng, rng.uniform(2, 9)) if rng.random() < 0.2 else made.image
    things = tuple(Thing("text", ink_name, outline_of(made.boxes[str(i)]), text=text) for i, text in enumerate(lines))
    facts = made.printed | {"ink": ink_name, "ground": ground_name, "holds": holds}
    return Picture("text", image, things, facts)


def _colours(rng: np.random.Generator) -> tuple[str | None, RGB, str, RGB]:
    """Name and value of the ground, then of the letters, far apart in brightness."""
    while True:
        style = rng.random()
        if style < 0.4:
            ground_name, ground = "white", (255, 255, 255)
        elif style < 0.55:
            v = int(rng.integers(215, 246))
            ground_name, ground = None, (v, v - int(rng.integers(0, 12)), v - int(rng.integers(0, 25)))
        else:
            ground_name = str(rng.choice(list(COLOURS)))
            ground = drawn_colour(ground_name, rng)
        ink_name = "black" if rng.random() < 0.3 else "white" if rng.random() < 0.25 else str(rng.choice(list(COLOURS)))
        ink = drawn_colour(ink_name, rng)
        if abs(brightness(ink) - brightness(ground)) > CONTRAST and ink_name != ground_name:
            return ground_name, ground, ink_name, ink


def _lines(values: Values) -> tuple[str, list[str]]:
    """What sort of text it is, and its lines."""
    sorts = {"sign": _sign, "sentence": _sentence, "card": _card, "menu": _menu, "hours": _hours, "date": _date}
    holds = str(values.rng.choice([*sorts, "words"], p=[0.24, 0.24, 0.12, 0.1, 0.08, 0.07, 0.15]))
    lines = sorts.get(holds, _words)(values)[:4]
    lines = [line.upper() for line in lines] if values.chance(0.12) else lines
    return holds, [" ".join(line.split()) for line in lines]


def _sign(values: Values) -> list[str]:
    lines = [values.word("signs")]
    words = lines[0].split()
    if len(words) > 2 and values.chance(0.5):
        lines = [" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])]
    return [*lines, values.word("signs")] if values.chance(0.25) else lines


def _sentence(values: Values) -> list[str]:
    def clause() -> str:
        lead = f"{values.pick(('the', 'a', 'this', 'my'))} {values.word('adjectives')} {values.word('nouns')}"
        return f"{lead.replace('a old', 'an old')} {values.word('verbs')} the {values.word('nouns')}"

    text = clause()
    if values.chance(0.35):
        text += f" {values.pick(('and', 'but', 'while'))} {clause()}"
    return textwrap.wrap(text[0].upper() + text[1:] + ".", int(values.rng.integers(16, 34)))


def _card(values: Values) -> list[str]:
    parts = [values.person(), values.company(), *values.address(), values.phone()]
    kept = sorted(values.several(range(len(parts)), int(values.rng.integers(1, 5))))
    return [parts[i] for i in kept]


def _menu(values: Values) -> list[str]:
    foods = values.several(WORDS["goods"], int(values.rng.integers(1, 5)))
    return [f"{food} {values.money.signed(values.cents())}" for food in foods]


def _hours(values: Values) -> list[str]:
    first, last = sorted(values.several(range(7), 2))
    begin, end = int(values.rng.integers(6, 12)), int(values.rng.integers(13, 23))
    hours = values.pick((f"{begin}:00 - {end}:00", f"{begin} am to {end - 12} pm", f"from {begin}:30 to {end}:30"))
    lines = [f"{WORDS['days'][first]} to {WORDS['days'][last]}", hours]
    return [values.pick(("Opening Hours", "Open", "Office Hours", "Visits")), *lines] if values.chance(0.5) else lines


def _date(values: Values) -> list[str]:
    lines = [values.dated(values.day())]
    if values.chance(0.5):
        lines.append(values.clock())
    if values.chance(0.4):
        lines.insert(0, values.pick((f"{values.town()} Festival", "Next Meeting", "Concert", "Open Day")))
    return lines


def _words(values: Values) -> list[str]:
    """Words that can't be guessed: names, numbers and codes."""
    sorts = (
        values.person,
        lambda: " ".join(values.made_up() for _ in range(int(values.rng.integers(1, 4)))),
        lambda: f"{values.pick(('Room', 'Gate', 'Platform', 'Level', 'Row', 'Seat', 'No.'))} {values.code('##')}",
        values.code,
        lambda: f"{values.word('adjectives')} {values.word('nouns')}".title(),
    )
    return [values.pick(sorts)() for _ in range(int(values.rng.choice([1, 2, 3, 4], p=[0.45, 0.3, 0.15, 0.1])))]
