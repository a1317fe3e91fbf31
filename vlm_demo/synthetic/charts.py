"""Charts: simple bar charts, upright or lying, drawn by seed, with every bar's value, colour and label."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vlm_demo.synthetic.fonts import FAMILIES, HELD_OUT_FAMILY, font
from vlm_demo.synthetic.world import COLOURS, Picture, Thing, drawn_colour

LABELS = (
    "Mon Tue Wed Thu Fri Sat Sun Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec Q1 Q2 Q3 Q4 North South East West "
    "Apples Pears Plums Bread Milk Tea Coffee Rice Beef Fish Cars Bikes Trains Buses Planes Dogs Cats Birds Paris Rome "
    "Oslo Lima Cairo Tokyo Anna Ben Carl Dora Emil Red Gold Iron Wood Glass 2019 2020 2021 2022 2023 2024"
).split()
TITLES = (
    "Sales by region|Monthly rainfall|Votes|Average score|Visitors per day|Revenue|Population|Output|Units sold|"
    "Results of the survey|Energy use|Students per class|Goals scored|Temperature|Budget|Profit|Hours of sleep"
).split("|")


def draw_chart(rng: np.random.Generator, held_out: bool = False) -> Picture:
    """A bar chart of 2 to 7 bars.

    ``facts``: ``values`` and ``labels`` and ``colours`` per bar in reading order (left to right, or top to bottom),
    ``lying`` (bool), ``title``, ``texts`` (what is printed, in lines from the top, for imitating OCR).
    """
    width, height = int(rng.integers(220, 640)), int(rng.integers(180, 480))
    lying = bool(rng.random() < 0.25)
    n = int(rng.integers(2, 8))
    values = _distinct_values(n, rng)
    labels = _labels(n, rng)
    palette = [c for c in COLOURS if c not in ("white", "black")]
    one_colour = rng.random() < 0.3
    colours = [str(rng.choice(palette))] * n if one_colour else [str(c) for c in rng.choice(palette, n, replace=False)]
    dark = rng.random() < 0.12
    back = (
        (24, 24, 28)
        if dark
        else (255, 255, 255)
        if rng.random() < 0.7
        else tuple(int(v) for v in rng.integers(235, 255, 3))
    )
    ink = (225, 225, 225) if dark else (30, 30, 30)
    image = Image.new("RGB", (width, height), back)
    draw = ImageDraw.Draw(image)
    face = HELD_OUT_FAMILY if held_out else str(rng.choice(list(FAMILIES)))
    size = int(np.clip(min(width, height) * rng.uniform(0.04, 0.06), 9, 22))
    small = font(face, size)
    title = str(rng.choice(TITLES)) if rng.random() < 0.7 else ""
    left, right = int(width * rng.uniform(0.1, 0.17)), int(width * rng.uniform(0.94, 0.99))
    if lying:
        left = max(left, int(max(draw.textlength(text, font=small) for text in labels)) + 12)
    top = int(height * (0.15 if title else rng.uniform(0.04, 0.08)))
    bottom = int(height * 0.98) - round(size * 1.6)
    texts: list[tuple[float, str]] = []
    if title:
        draw.text((width / 2, top * 0.45), title, fill=ink, font=font(face, round(size * 1.25)), anchor="mm")
        texts.append((top * 0.45, title))
    ceiling = max(values) * rng.uniform(1.03, 1.25)
    _axis(draw, rng, (left, top, right, bottom), ceiling, lying, ink, back, small, texts)
    slot = ((bottom - top) if lying else (right - left)) / n
    thickness = slot * rng.uniform(0.5, 0.95)
    show_values = rng.random() < 0.3
    edge = ink if rng.random() < 0.2 else None
    bars: list[Thing] = []
    kept: list[str] = []
    for i, (value, colour) in enumerate(zip(values, colours, strict=True)):
        middle = (top if lying else left) + (i + 0.5) * slot
        share = value / ceiling
        if lying:
            box: tuple[float, ...] = (
                left,
                middle - thickness / 2,
                left + share * (right - left),
                middle + thickness / 2,
            )
        else:
            box = (middle - thickness / 2, bottom - share * (bottom - top), middle + thickness / 2, bottom)
        x0, y0, x1, y1 = (round(v) for v in box)
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
        rgb = drawn_colour(colour, rng)
        kept.append(colour)
        draw.rectangle((x0, y0, x1, y1), fill=rgb, outline=edge)
        bars.append(Thing("bar", colour, np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=float)))
        shown = f"{value:g}"
        if lying:
            draw.text((left - 5, middle), labels[i], fill=ink, font=small, anchor="rm")
            texts.append((middle, f"{labels[i]} {shown}" if show_values else labels[i]))
        if show_values:
            spot = (x1 + 3, middle) if lying else ((x0 + x1) / 2, y0 - 2)
            draw.text(spot, shown, fill=ink, font=small, anchor="lm" if lying else "mb")
            if not lying:
                texts.append((y0 - 2, shown))
    if not lying:
        for i in range(n):
            draw.text((left + (i + 0.5) * slot, bottom + 4), labels[i], fill=ink, font=small, anchor="ma")
        texts.append((bottom + 4, " ".join(labels)))
    facts: dict[str, Any] = {
        "values": values,
        "labels": labels,
        "colours": kept,
        "lying": lying,
        "title": title,
        "texts": [text for _, text in sorted(texts)],
    }
    return Picture("charts", image, tuple(bars), facts)


def _distinct_values(n: int, rng: np.random.Generator) -> list[float]:
    """Values whose largest and smallest stand out by at least 6 % of the scale."""
    top = float(rng.choice([1, 10, 40, 100, 500, 1000]))
    for _ in range(50):
        values = [float(f"{v:.3g}" if top > 1 else f"{v:.2f}") for v in rng.uniform(0.06, 1, n) * top]
        ordered = sorted(values)
        if ordered[-1] - ordered[-2] > 0.06 * top and ordered[1] - ordered[0] > 0.06 * top:
            break
    return values


def _labels(n: int, rng: np.random.Generator) -> list[str]:
    style = rng.random()
    if style < 0.45:
        start = 0 if rng.random() < 0.8 else int(rng.integers(0, 26 - n))
        return [chr(65 + start + i) for i in range(n)]
    if style < 0.6:
        start = int(rng.integers(0, 60))
        run = LABELS[start : start + n]
        if len(set(run)) == n:
            return run
    return [str(label) for label in rng.choice(LABELS, n, replace=False)]


def _axis(draw, rng, frame, ceiling: float, lying: bool, ink, back, face, texts) -> None:
    left, top, right, bottom = frame
    draw.line((left, top, left, bottom), fill=ink)
    draw.line((left, bottom, right, bottom), fill=ink)
    if rng.random() < 0.15:
        return
    step = 10 ** np.floor(np.log10(ceiling / 2))
    step *= 5 if ceiling / step > 20 else 2 if ceiling / step > 7 else 1
    grid = tuple((a * 5 + b) // 6 for a, b in zip(back, ink, strict=True)) if rng.random() < 0.5 else None
    for k in range(int(ceiling / step) + 1):
        share = k * step / ceiling
        label = f"{k * step:g}"
        if lying:
            x = left + share * (right - left)
            if grid:
                draw.line((x, top, x, bottom), fill=grid)
            draw.text((x, bottom + 4), label, fill=ink, font=face, anchor="ma")
        else:
            y = bottom - share * (bottom - top)
            if grid:
                draw.line((left, y, right, y), fill=grid)
            draw.text((left - 4, y), label, fill=ink, font=face, anchor="rm")
            texts.append((y, label))
    if lying:
        texts.append((bottom + 4, " ".join(f"{k * step:g}" for k in range(int(ceiling / step) + 1))))
