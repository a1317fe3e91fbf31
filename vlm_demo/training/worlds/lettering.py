"""Lettering: short pictures of one to four lines of text, in many faces and colours, and what can be asked of them."""

from __future__ import annotations

import math
import textwrap
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlm_demo.training.worlds.document_values import (
    REGIONS,
    address,
    any_date,
    clock,
    company,
    currency,
    day,
    digits,
    made_up,
    person,
    phone,
    town,
)
from vlm_demo.training.worlds.printed import spelled, texts
from vlm_demo.training.worlds.scene_grounds import noisy
from vlm_demo.training.worlds.scene_shapes import RGB
from vlm_demo.training.worlds.screen_words import AIMS
from vlm_demo.training.worlds.world import COLOURS, Picture, Thing, drawn_colour

# The bold serif is kept for held-out pictures (`fonts.HELD_OUT_FAMILY`).
FACES = (
    "DejaVuSans", "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono",
    "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic",
)  # fmt: skip
PLAIN_FACES = ("cmss10", "cmr10", "cmtt10")  # of letters, digits and a few signs alone
_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
CONTRAST = 95  # of the brightness of letters and ground, of 0..255
SIGNS = (
    "OPEN|CLOSED|EXIT|ENTRANCE|NO PARKING|PUSH|PULL|STOP|SALE|WET PAINT|NO SMOKING|FOR SALE|TO LET|PRIVATE|DANGER|"
    "KEEP OUT|WELCOME|PLEASE WAIT HERE|MIND THE STEP|OUT OF ORDER|STAFF ONLY|NO ENTRY|ONE WAY|TAXI|BUS STOP|TICKETS|"
    "INFORMATION|LOST AND FOUND|FIRE EXIT|FIRST AID|LIFT|TOILETS|RECEPTION|CASH ONLY|NO DOGS|QUIET PLEASE|SLOW DOWN|"
    "Fresh Coffee|Hot Soup|Free Wi-Fi|Book Fair|Car Wash|Ice Cream|Happy Birthday|Thank You|Good Morning|Summer Sale|"
    "Garden Centre|City Library|Ring the Bell|Open All Day|Back in 5 Minutes|Please Knock|Handle with Care|Half Price|"
    "Buy One Get One Free|New Menu|Live Music|Room for Rent|Beware of the Dog|Do Not Disturb|This Way Up|Fragile"
).split("|")
FOODS = (
    "Tea|Coffee|Milk|Bread|Butter|Soup|Salad|Pizza|Pasta|Rice|Apples|Pears|Lemonade|Orange Juice|Cake|Cookies|Cheese|"
    "Eggs|Honey|Fish and Chips|Tomato Soup|Green Tea|Hot Chocolate|Pancakes|Sandwich|Mineral Water"
).split("|")
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_ADJECTIVES = (
    "small large old young quiet happy tired brave clever green brown white dark bright cold warm heavy empty famous "
    "lazy quick strange simple wooden yellow"
).split()
_NOUNS = (
    "horse river teacher garden window bridge letter doctor bicycle forest kitchen engine painter village market "
    "mountain ship song lamp farmer train clock bird table island captain baker cloud road museum tower boat"
).split()
_VERBS = (
    "stands behind|runs past|sleeps near|waits for|looks at|lives beside|walks around|hides under|belongs to|"
    "comes from|sings about|writes about|dreams of|sits on|moves towards|points at"
).split("|")
_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"


def draw_lettering(rng: np.random.Generator) -> Picture:
    """One to four lines on a plain or slightly uneven ground.

    ``facts``: ``words`` and ``texts`` as of every picture; ``ink`` and ``ground``, the names of the colours (the
    ground's may be None); ``holds``, what sort of text it is.
    """
    holds, lines = _lines(rng)
    face = str(rng.choice(FACES)) if rng.random() < 0.88 or not _simple(lines) else str(rng.choice(PLAIN_FACES))
    ground_name, ground, ink_name, ink = _colours(rng)
    size = int(rng.integers(18, 64) if len(lines) > 1 else rng.integers(20, 90))
    while size > 13 and max(_font(face, size).getlength(line) for line in lines) > 560:
        size -= 2
    letters = _font(face, size)
    step = size * rng.uniform(1.2, 1.7)
    widest = max(letters.getlength(line) for line in lines)
    margin = [size * rng.uniform(0.5, 2.2) for _ in range(4)]
    width = max(90, math.ceil(widest + margin[0] + margin[1]))
    height = max(48, math.ceil(step * (len(lines) - 1) + size * 1.25 + margin[2] + margin[3]))
    image = Image.new("RGB", (width, height), ground)
    if rng.random() < 0.2:
        image = noisy(image, rng, rng.uniform(2, 9))
    draw = ImageDraw.Draw(image)
    if rng.random() < 0.25:
        inset, radius = int(min(margin) * rng.uniform(0.1, 0.45)), int(size * rng.uniform(0, 0.6))
        draw.rounded_rectangle(
            (inset, inset, width - 1 - inset, height - 1 - inset), radius, outline=ink, width=1 + size // 16
        )
    middle = rng.random() < 0.55
    words, outlines = [], []
    for row, line in enumerate(lines):
        length = letters.getlength(line)
        x = (width - length) / 2 if middle else margin[0]
        y = margin[2] + row * step
        draw.text((x, y), line, font=letters, fill=ink)
        box = draw.textbbox((x, y), line, font=letters)
        words.append(spelled(line, box))
        outlines.append(np.array([(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])], float))
    things = tuple(Thing("text", ink_name, o, text=t) for o, t in zip(outlines, lines, strict=True))
    facts = {"words": words, "texts": texts(words), "ink": ink_name, "ground": ground_name, "holds": holds}
    return Picture("text", image, things, facts)


@lru_cache(maxsize=256)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FOLDER / f"{face}.ttf"), size)


def _simple(lines: list[str]) -> bool:
    return all(c.isascii() and (c.isalnum() or c in " .,:-!?") for line in lines for c in line)


def _bright(rgb: RGB) -> float:
    return float(np.dot(rgb, (0.299, 0.587, 0.114)))


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
        if abs(_bright(ink) - _bright(ground)) > CONTRAST and ink_name != ground_name:
            return ground_name, ground, ink_name, ink


def _lines(rng: np.random.Generator) -> tuple[str, list[str]]:
    """What sort of text it is, and its lines."""
    sorts = {"sign": 0.24, "sentence": 0.24, "card": 0.12, "menu": 0.1, "hours": 0.08, "date": 0.07, "words": 0.15}
    holds = str(rng.choice(list(sorts), p=list(sorts.values())))
    lines = {
        "sign": _sign, "sentence": _sentence, "card": _card, "menu": _menu, "hours": _hours, "date": _date,
        "words": _words,
    }[holds](rng)[:4]  # fmt: skip
    if rng.random() < 0.12:
        lines = [line.upper() for line in lines]
    return holds, lines


def _one(rng: np.random.Generator, options) -> str:
    return str(options[int(rng.integers(len(options)))])


def _sign(rng: np.random.Generator) -> list[str]:
    lines = [_one(rng, SIGNS) if rng.random() < 0.7 else _one(rng, list(AIMS))]
    if len(lines[0].split()) > 2 and rng.random() < 0.5:
        words = lines[0].split()
        cut = len(words) // 2
        lines = [" ".join(words[:cut]), " ".join(words[cut:])]
    if rng.random() < 0.25:
        lines.append(_one(rng, SIGNS))
    return lines


def _sentence(rng: np.random.Generator) -> list[str]:
    def clause() -> str:
        lead = f"{_one(rng, ('the', 'a', 'this', 'my'))} {_one(rng, _ADJECTIVES)} {_one(rng, _NOUNS)}"
        lead = lead.replace("a old", "an old").replace("a empty", "an empty")
        return f"{lead} {_one(rng, _VERBS)} the {_one(rng, _NOUNS)}"

    text = clause()
    if rng.random() < 0.35:
        text += f" {_one(rng, ('and', 'but', 'while'))} {clause()}"
    text = text[0].upper() + text[1:] + "."
    return textwrap.wrap(text, int(rng.integers(16, 34)))


def _card(rng: np.random.Generator) -> list[str]:
    region = _one(rng, REGIONS)
    parts = [company(rng, region), *address(rng, region)[:2], phone(rng, region)]
    if rng.random() < 0.5:
        parts.insert(0, person(rng))
    kept = sorted(rng.permutation(len(parts))[: int(rng.integers(1, 5))])
    return [parts[int(i)].rstrip(",") for i in kept]


def _menu(rng: np.random.Generator) -> list[str]:
    money = currency(rng, _one(rng, REGIONS))
    foods = rng.permutation(len(FOODS))[: int(rng.integers(1, 5))]
    return [f"{FOODS[int(i)]} {money.priced(round(float(rng.uniform(0.5, 30)), 2))}" for i in foods]


def _hours(rng: np.random.Generator) -> list[str]:
    first, last = sorted(int(d) for d in rng.choice(7, 2, replace=False))
    begin, end = int(rng.integers(6, 12)), int(rng.integers(13, 23))
    hours = _one(rng, (f"{begin}:00 - {end}:00", f"{begin} am to {end - 12} pm", f"from {begin}:30 to {end}:30"))
    lines = [f"{DAYS[first]} to {DAYS[last]}", hours]
    return [_one(rng, ("Opening Hours", "Open", "Office Hours", "Visits")), *lines] if rng.random() < 0.5 else lines


def _date(rng: np.random.Generator) -> list[str]:
    lines = [any_date(rng)]
    if rng.random() < 0.5:
        lines.append(clock(rng))
    if rng.random() < 0.4:
        lines.insert(0, _one(rng, (f"{town(rng, 'uk')} Festival", "Next Meeting", "Concert", f"Expo {day(rng)[0]}")))
    return lines


def _words(rng: np.random.Generator) -> list[str]:
    """Words that can't be guessed: names, numbers and codes."""

    def line() -> str:
        style = rng.random()
        if style < 0.3:
            return person(rng)
        if style < 0.5:
            return " ".join(made_up(rng) for _ in range(int(rng.integers(1, 4))))
        if style < 0.65:
            return f"{_one(rng, ('Room', 'Gate', 'Platform', 'Line', 'Level', 'Row', 'Seat', 'No.'))} {digits(rng, 2)}"
        if style < 0.8:
            code = "".join(_one(rng, _LETTERS) for _ in range(int(rng.integers(2, 4))))
            return f"{code}{_one(rng, ('-', ' ', ''))}{digits(rng, int(rng.integers(2, 6)))}"
        return f"{_one(rng, _ADJECTIVES)} {_one(rng, _NOUNS)}".title()

    return [line() for _ in range(int(rng.choice([1, 2, 3, 4], p=[0.45, 0.3, 0.15, 0.1])))]
