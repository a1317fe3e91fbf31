"""Forms: labels with filled-in values, and boxes that are ticked or not."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlm_demo.training.worlds.document_values import (
    address,
    any_date,
    company,
    date_style,
    dated,
    day,
    digits,
    made_up,
    person,
    phone,
    pick,
    town,
)
from vlm_demo.training.worlds.fonts import HELD_OUT_FAMILY, font
from vlm_demo.training.worlds.paper import Sheet, worn
from vlm_demo.training.worlds.world import Picture

_TITLES = (
    "Registration Form|Application Form|Membership Application|Order Form|Patient Form|Booking Form|Visitor Form|"
    "Employee Data Sheet|Library Card Application|Change of Address|Enrolment Form|Insurance Claim|Rental Agreement"
).split("|")
_NATIONS = "Malaysian British German French Dutch Italian Spanish American Kenyan Indian Polish Norwegian".split()
_JOBS = "Teacher Driver Nurse Engineer Cook Designer Clerk Student Farmer Lawyer Painter Baker".split()
# A label, how its value is made, and the nouns that a question may use for it.
FIELDS = {
    "name": (("Name", "Full name", "Name", "Applicant"), person),
    "date of birth": (("Date of birth", "Birth date", "Born", "DOB"), any_date),
    "address": (("Address", "Street"), lambda rng: address(rng, str(pick(rng, ["us", "uk", "europe"])))[0]),
    "city": (("City", "Town", "City"), lambda rng: town(rng, str(pick(rng, ["us", "uk", "europe", "malaysia"])))),
    "phone number": (
        ("Phone", "Telephone", "Phone number", "Mobile"),
        lambda rng: phone(rng, str(pick(rng, ["us", "uk", "europe", "malaysia"]))),
    ),
    "email": (("Email", "E-mail", "Email address"), lambda rng: f"{made_up(rng).lower()}@{made_up(rng).lower()}.com"),
    "nationality": (("Nationality", "Citizenship"), lambda rng: str(pick(rng, _NATIONS))),
    "occupation": (("Occupation", "Profession", "Job"), lambda rng: str(pick(rng, _JOBS))),
    "employer": (("Employer", "Company"), lambda rng: company(rng, str(pick(rng, ["us", "uk", "europe"])))),
    "passport number": (
        ("Passport no.", "Passport number", "ID number"),
        lambda rng: f"{pick(rng, 'ABCKXZ')}{digits(rng, 7)}",
    ),
    "date": (("Date", "Date of application", "Signed on"), lambda rng: dated(date_style(rng, "uk"), day(rng))),
    "member number": (("Member no.", "Membership number", "Customer no."), lambda rng: digits(rng, 6)),
    "postcode": (("Postcode", "ZIP code", "Postal code"), lambda rng: digits(rng, 5)),
    "height": (("Height",), lambda rng: f"{int(rng.integers(150, 200))} cm"),
    "room": (("Room", "Room no."), lambda rng: digits(rng, 3)),
    "emergency contact": (("Emergency contact", "Contact person"), person),
}
TICKS = (
    "Newsletter|Smoker|Married|Single|Vegetarian|Student|Retired|Full time|Part time|Urgent|I agree to the terms|"
    "Paid in cash|"
    "Insurance|Parking needed|Breakfast|Male|Female|First visit|Own car|Allergies|Delivery|Pick-up|Gift wrap|Express|"
    "Standard|"
    "Adult|Child|One way|Return|Morning|Evening|Data may be stored"
).split("|")


def draw_form(rng: np.random.Generator, held_out: bool = False) -> Picture:
    """A form.

    ``facts``: ``type``, ``title``, ``fields`` (name in FIELDS → value as printed), ``ticks`` (label → ticked);
    ``where`` (by those names, and ``tick`` and the label) and ``words``, ``texts`` as of a receipt.
    """
    family = HELD_OUT_FAMILY if held_out else str(pick(rng, ["sans", "sans", "serif", "times", "mono"]))
    filled = family if held_out else str(pick(rng, [family, family, "mono", "times"]))
    size = int(rng.integers(15, 20))
    face, hand, head = font(family, size), font(filled, size), font(family, round(size * float(rng.uniform(1.2, 1.8))))
    step, margin = size * float(rng.uniform(1.8, 2.4)), size * float(rng.uniform(1.5, 3))
    facts: dict[str, Any] = {"type": "form", "title": str(pick(rng, _TITLES)), "fields": {}, "ticks": {}}
    names = [str(n) for n in rng.choice(list(FIELDS), int(rng.integers(3, 9)), replace=False)]
    if "name" not in names and rng.random() < 0.8:
        names[0] = "name"
    names.sort(key=list(FIELDS).index)
    values = {name: "" if rng.random() < 0.1 else str(FIELDS[name][1](rng)) for name in names}  # "" is left open
    facts["fields"] = {name: value for name, value in values.items() if value}
    colon = str(pick(rng, [":", ":", ""]))
    shown = {name: str(pick(rng, FIELDS[name][0])) for name in names}
    start = margin + max(face.getlength(label + colon) for label in shown.values()) + size
    needed = max(
        start + max(hand.getlength(value) for value in values.values()), margin + head.getlength(facts["title"])
    )
    width = int(max(size * rng.uniform(30, 40), needed + size + margin))
    right = width - margin
    sheet = Sheet(width, int(rng.integers(0, 60)), coloured=rng.random() < 0.4)
    pen = (
        (int(rng.integers(0, 40)), int(rng.integers(0, 60)), int(rng.integers(100, 200)))
        if sheet.mode == "RGB" and rng.random() < 0.6
        else None
    )
    y = margin
    side = size * float(rng.uniform(2.5, 4))
    if rng.random() < 0.25 and margin + head.getlength(facts["title"]) + side * 2.5 < right:
        sheet.logo(right - side * 2.2, y, side, facts["title"], font(family, round(side * 0.6)), rng)
    sheet.line(y, [(margin, "l", facts["title"])], head, ["title"])
    y += step * 1.4
    style = str(pick(rng, ["box", "line", "dotted", "plain", "plain"]))
    for name, value in values.items():
        sheet.line(y, [(margin, "l", shown[name] + colon)], face)
        sheet.line(y, [(start, "l", value)], hand, [name], pen)
        if style == "box":
            sheet.draw.rectangle((start - size * 0.4, y - size * 0.25, right, y + size * 1.4), outline=sheet.tone(110))
        elif style != "plain":
            sheet.rule(y + size * 1.3, start - size * 0.2, right, "solid" if style == "line" else "dotted")
        y += step
    y += step * 0.2
    side = round(size * float(rng.uniform(0.8, 1.05)))
    labels = [str(label) for label in rng.choice(TICKS, int(rng.integers(0, 6)), replace=False)]
    x, across = margin, rng.random() < 0.4
    mark = int(rng.integers(3))
    for label in labels:
        reach = side + size * 0.5 + face.getlength(label)
        if x > margin and x + reach > right:
            x, y = margin, y + step * 0.9
        ticked = bool(rng.random() < 0.5)
        facts["ticks"][label] = ticked
        top = y + size * 0.15
        sheet.draw.rectangle((x, top, x + side, top + side), outline=sheet.ink, width=max(1, side // 10))
        if ticked:
            _tick(sheet, x, top, side, mark, pen)
        sheet.line(y, [(x + side + size * 0.5, "l", label)], face, [f"tick {label}"])
        if across:
            x += reach + size * 1.5
        else:
            y += step * 0.9
    y += step * (1.3 if across and labels else 0.4)
    if rng.random() < 0.5:
        sheet.line(y, [(margin, "l", f"Signature{colon}")], face)
        sheet.rule(y + size * 1.3, margin + size * 7, right)
        y += step
    y += margin + step * float(rng.uniform(0, 2))
    things, where = sheet.things()
    things, where = _with_boxes(things, where, size, side)
    image, moved, printed = worn(sheet, y, things, rng)
    return Picture("documents", image, moved, facts | {"where": where} | printed)


def _tick(sheet: Sheet, x: float, y: float, side: float, mark: int, pen) -> None:
    ink, thick = pen or sheet.ink, max(2, round(side / 7))
    if mark == 0:
        sheet.draw.line((x + side * 0.2, y + side * 0.2, x + side * 0.8, y + side * 0.8), fill=ink, width=thick)
        sheet.draw.line((x + side * 0.8, y + side * 0.2, x + side * 0.2, y + side * 0.8), fill=ink, width=thick)
    elif mark == 1:
        points = [
            (x + side * 0.15, y + side * 0.5),
            (x + side * 0.42, y + side * 0.8),
            (x + side * 1.05, y - side * 0.1),
        ]
        sheet.draw.line(points, fill=ink, width=thick)
    else:
        sheet.draw.rectangle((x + side * 0.25, y + side * 0.25, x + side * 0.75, y + side * 0.75), fill=ink)


def _with_boxes(things, where, size: int, side: int):
    """The things, those with a box to tick made wider to take it in."""
    wider = list(things)
    for role, i in where.items():
        if role.startswith("tick "):
            outline = wider[i].outline.copy()
            outline[[0, 3], 0] -= side + size * 0.5
            wider[i] = type(wider[i])(wider[i].shape, wider[i].colour, outline, text=wider[i].text)
    return wider, where
