"""Tables: pages that are a table of words and numbers, ruled, striped or bare."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlm_demo.training.worlds.document_values import dated, day, digits, made_up, person, pick, town
from vlm_demo.training.worlds.fonts import HELD_OUT_FAMILY, font
from vlm_demo.training.worlds.paper import Sheet, worn
from vlm_demo.training.worlds.world import Picture

_GOODS = (
    "Tea Coffee Bread Milk Butter Sugar Rice Apples Pears Oranges Lemons Honey Salt Flour Chairs Tables Lamps Desks "
    "Pens "
    "Paper Nails Screws Bolts Paint Rope Wire Glass Cement Bricks Sand Wood Wool Cotton Linen Silk"
).split()
_COUNTRIES = (
    "France Spain Italy Norway Kenya Brazil Japan India Canada Peru Egypt Poland Chile Turkey Ghana Nepal".split()
)
_SUBJECTS = "Maths Physics English History Music Biology Art Sport French Chemistry Geography Latin".split()
_COLOURS = "red blue green yellow black white brown pink".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

# What rows are about, and the columns that can stand beside: name → how a cell is made.
_NUMERIC = {
    "Price": lambda rng: f"{rng.uniform(0.5, 90):.2f}",
    "Quantity": lambda rng: str(int(rng.integers(1, 200))),
    "Stock": lambda rng: digits(rng, 3),
    "Weight": lambda rng: f"{int(rng.integers(1, 90))} kg",
    "Code": lambda rng: f"{pick(rng, 'ABCKX')}{digits(rng, 3)}",
    "Colour": lambda rng: str(pick(rng, _COLOURS)),
    "Supplier": lambda rng: made_up(rng),
    "Discount": lambda rng: f"{int(rng.integers(1, 60))}%",
}
_PERSONAL = {
    "Age": lambda rng: str(int(rng.integers(18, 70))),
    "City": lambda rng: town(rng, str(pick(rng, ["uk", "us", "europe"]))),
    "Room": lambda rng: digits(rng, 3),
    "Points": lambda rng: digits(rng, 2),
    "Team": lambda rng: made_up(rng),
    "Phone": lambda rng: digits(rng, 6),
    "Born": lambda rng: dated("{d:02}/{m:02}/{y}", day(rng)),
    "Grade": lambda rng: str(pick(rng, "ABCDEF")),
    "Country": lambda rng: str(pick(rng, _COUNTRIES)),
    "Salary": lambda rng: f"{int(rng.integers(20, 99))},{digits(rng, 3)}",
}
_NATIONAL = {
    "Population": lambda rng: f"{int(rng.integers(2, 99))}.{int(rng.integers(10))} million",
    "Capital": lambda rng: made_up(rng),
    "Area": lambda rng: f"{digits(rng, 3)},{digits(rng, 3)}",
    "Medals": lambda rng: str(int(rng.integers(1, 60))),
    "Exports": lambda rng: digits(rng, 4),
    "Rank": lambda rng: str(int(rng.integers(1, 100))),
    "Growth": lambda rng: f"{rng.uniform(0.1, 9):.1f}%",
}
_TIMES = {
    "Room": lambda rng: digits(rng, 3),
    "Teacher": lambda rng: made_up(rng),
    "Day": lambda rng: str(pick(rng, _DAYS)),
    "Start": lambda rng: f"{int(rng.integers(8, 18)):02}:{int(rng.integers(12)) * 5:02}",
    "Hours": lambda rng: str(int(rng.integers(1, 8))),
    "Students": lambda rng: str(int(rng.integers(5, 35))),
    "Fee": lambda rng: f"{rng.uniform(20, 400):.2f}",
}
_SORTS = (
    (
        ("Product", "Item", "Article", "Goods"),
        _GOODS,
        _NUMERIC,
        ("Price list", "Stock list", "Orders", "Inventory", "Products"),
    ),
    (
        ("Name", "Employee", "Member", "Player"),
        None,
        _PERSONAL,
        ("Members", "Staff list", "Results", "Participants", "Phone list"),
    ),
    (("Country",), _COUNTRIES, _NATIONAL, ("Countries", "World statistics", "Overview", "Comparison")),
    (("Subject", "Course", "Class"), _SUBJECTS, _TIMES, ("Timetable", "Courses", "Class schedule", "Lessons")),
)


def draw_table(rng: np.random.Generator, held_out: bool = False) -> Picture:
    """A table.

    ``facts``: ``type``, ``headers``, ``rows`` (of cells, as printed), ``title`` or none; ``where`` (by ``row 0`` and so
    on, ``headers``, ``title``) and ``words``, ``texts`` as of a receipt.
    """
    firsts, pool, columns, titles = pick(rng, _SORTS)
    count = int(rng.integers(3, 9))
    names: list[str] = []
    while len(names) < count:
        name = person(rng) if pool is None else str(pick(rng, pool)) if rng.random() < 0.9 else made_up(rng)
        if not any(name in other or other in name for other in names):
            names.append(name)
    chosen = [str(c) for c in rng.choice(list(columns), int(rng.integers(1, 5)), replace=False)]
    headers = [str(pick(rng, firsts)), *chosen]
    headers = headers if headers[0] not in chosen else ["Name", *chosen]
    if rng.random() < 0.15:
        headers = [header.upper() for header in headers]
    rows = [[name, *(str(columns[c](rng)) for c in chosen)] for name in names]
    facts: dict[str, Any] = {"type": "table", "headers": headers, "rows": rows}
    family = HELD_OUT_FAMILY if held_out else str(pick(rng, ["sans", "sans", "serif", "times", "mono"]))
    size = int(rng.integers(15, 22))
    face, bold = font(family, size), font({"sans": "sans-bold", "mono": "mono-bold"}.get(family, family), size)
    step, margin, gap = (
        size * float(rng.uniform(1.4, 2.2)),
        size * float(rng.uniform(1, 3)),
        size * float(rng.uniform(1, 2.5)),
    )
    widths = [max(bold.getlength(h), *(face.getlength(row[i]) for row in rows)) + gap for i, h in enumerate(headers)]
    width = int(sum(widths) + 2 * margin)
    sheet = Sheet(width, int(rng.integers(0, 60)), coloured=rng.random() < 0.4)
    y = margin
    if rng.random() < 0.5:
        facts["title"] = str(pick(rng, titles)) + (f" {int(rng.integers(2005, 2027))}" if rng.random() < 0.4 else "")
        middle = rng.random() < 0.5
        big = font(family, round(size * float(rng.uniform(1.0, 1.5))))
        sheet.line(y, [(width / 2, "m", facts["title"]) if middle else (margin, "l", facts["title"])], big, ["title"])
        y += step * max(1.3, big.size / size)
    top = y
    style = str(pick(rng, ["grid", "grid", "lines", "striped", "bare", "head"]))
    numeric = [i > 0 and rng.random() < 0.5 for i in range(len(headers))]
    edges = np.cumsum([margin, *widths])
    right, pad = edges[-1], gap / 2
    dark = style in ("striped", "grid") and rng.random() < 0.4
    tint = int(rng.integers(30, 110)) if dark else int(rng.integers(205, 240))
    if style == "striped" or dark:
        colour = sheet.tone(tint)
        if dark and sheet.mode == "RGB":
            colour = tuple(int(c) for c in rng.integers(0, 130, 3))
        sheet.draw.rectangle((margin, y, right, y + step), fill=colour)
    for i, row in enumerate([headers, *rows]):
        if style == "striped" and i and i % 2 == 0:
            sheet.draw.rectangle((margin, y, right, y + step), fill=sheet.tone(235))
        pieces = [
            (edges[k + 1] - pad, "r", cell) if numeric[k] else (edges[k] + pad, "l", cell) for k, cell in enumerate(row)
        ]
        ink = sheet.tone(255) if i == 0 and dark else None
        sheet.line(
            y + (step - size * 1.3) / 2, pieces, bold if i == 0 else face, [f"row {i - 1}" if i else "headers"], ink
        )
        y += step
        if style in ("grid", "lines") or (i == 0 and style == "head"):
            sheet.rule(y, margin, right)
    if style == "grid":
        for edge in edges:
            sheet.draw.line((edge, top, edge, y), fill=sheet.ink)
    if style != "bare":
        sheet.rule(top, margin, right)
        sheet.rule(y, margin, right)
    sheet.table((margin, top, right, y))
    if rng.random() < 0.25:
        y += step * 0.4
        note = str(
            pick(rng, ["Source: own survey", "All prices without tax", "Subject to change", "Last update: today"])
        )
        sheet.line(y, [(margin, "l", note)], face if face.getlength(note) < width - 2 * margin else font(family, 12))
        y += step
    y += margin
    things, where = sheet.things()
    image, moved, printed = worn(sheet, y, things, rng)
    return Picture("documents", image, moved, facts | {"where": where} | printed)
