"""Letters: short letters between invented people and firms."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlm_demo.training.worlds.document_values import (
    MONTHS,
    REGIONS,
    address,
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

_SUBJECTS = (
    "Your order {n}|Invoice {n}|Change of address|Invitation to our summer party|Meeting on {d}|Job application|"
    "Cancellation of contract {n}|Annual report|Delivery of your {t}|Renewal of membership|Complaint about the {t}|"
    "Request for an offer|Payment reminder|Booking confirmation {n}|Opening of our new office in {p}|Rent increase|"
    "Your application as {j}|Repair of the {t}|Thank you for your visit|School trip to {p}|Insurance policy {n}"
).split("|")
_THINGS = "heater lamp table printer bicycle camera washing-machine piano sofa garden-fence radio boiler window".split()
_JOBS = "accountant gardener teacher driver nurse engineer cook designer clerk librarian".split()
_SENTENCES = (
    "Thank you for your letter of {d}.|We are pleased to inform you that your {t} has been repaired.|"
    "Unfortunately we cannot accept your offer at this time.|Please send us the signed form by {d}.|"
    "The meeting will take place in {p} on {d}.|We would be glad to welcome you in our new office.|"
    "Please find the documents enclosed.|I am writing to ask about the {t} that I ordered last month.|"
    "The goods will be delivered within {k} days.|Your contract ends on {d}.|The new price is {a} per month.|"
    "Please call us if you have any questions.|We apologise for the delay and hope for your understanding.|"
    "I would like to apply for the position of {j}.|You can reach me by phone in the afternoon.|"
    "The amount of {a} has been credited to your account.|We look forward to working with you.|"
    "Your ticket number is {n}.|Our shop in {p} will be closed on {d}.|The repair will cost about {a}.|"
    "Please let us know whether you will attend.|The {t} arrived with a scratch on its left side.|"
    "We have received your payment and thank you very much.|All members are invited to the dinner in {p}."
).split("|")
_CLOSINGS = (
    "Yours sincerely,|Kind regards,|Best regards,|Sincerely,|Yours faithfully,|With kind regards,|Best wishes,|Regards,"
).split("|")
_POSTS = "Manager|Director|Customer Service|Head of Sales|Secretary|Office Manager|Human Resources".split("|")


def draw_letter(rng: np.random.Generator, held_out: bool = False) -> Picture:
    """A letter.

    ``facts``: ``type``; as printed, ``sender`` (the firm of the letterhead, or else who signs), ``recipient``,
    ``date``, ``salutation``, ``closing``, ``signer``, and where there are such ``subject``, ``phone``, ``number``;
    ``where`` and ``words``, ``texts`` as of a receipt.
    """
    region = str(pick(rng, REGIONS))
    family = HELD_OUT_FAMILY if held_out else str(pick(rng, ["sans", "serif", "times", "times", "mono"]))
    size = int(rng.integers(15, 20))
    face, strong = font(family, size), font({"sans": "sans-bold", "mono": "mono-bold"}.get(family, family), size)
    width = int(size * rng.uniform(32, 42))
    step, margin = size * float(rng.uniform(1.3, 1.65)), size * float(rng.uniform(1.8, 3.5))
    right = width - margin
    sheet = Sheet(width, int(rng.integers(0, 70)), coloured=rng.random() < 0.3)
    facts: dict[str, Any] = {"type": "letter", "signer": person(rng)}
    style, written = date_style(rng, region, long=rng.random() < 0.75), day(rng)
    facts["date"] = dated(style, written)
    business = rng.random() < 0.6
    sender = company(rng, region, business=True) if business else facts["signer"]
    facts["sender"] = sender
    y = margin
    side = str(pick(rng, ["l", "l", "m", "r"]))
    x = {"l": margin, "m": width / 2, "r": right}[side]
    if business and rng.random() < 0.55:
        tall = size * float(rng.uniform(2.5, 4.5))
        sheet.logo(
            {"l": margin, "m": width / 2 - tall / 2, "r": right - tall}[side],
            y,
            tall,
            sender,
            font(family, round(tall * 0.6)),
            rng,
        )
        y += tall + step * 0.5
    head = font(family, round(size * float(rng.uniform(1.0, 1.6))) if business else size)
    while head.size > 10 and head.getlength(sender) > right - margin:
        head = font(family, int(head.size) - 1)
    if business or rng.random() < 0.8:
        sheet.line(y, [(x, side, sender)], head, ["sender"] if business else ["sender", "signer"])
        y += step * max(1, head.size / size)
        lines = address(rng, region)
        if rng.random() < 0.3:
            lines = [", ".join(line.rstrip(",.") for line in lines[:2])]
        for line in lines:
            sheet.line(y, [(x, side, line)], face)
            y += step
        if rng.random() < 0.4:
            facts["phone"] = phone(rng, region)
            sheet.line(
                y, [(x, side, f"{pick(rng, ['Tel', 'Phone:', 'Tel.:', 'T'])} {facts['phone']}")], face, ["phone"]
            )
            y += step
        if business and rng.random() < 0.4:
            sheet.rule(y + step * 0.2, margin, right, thick=int(rng.integers(1, 3)))
            y += step * 0.5
    y += step * float(rng.uniform(0.6, 1.6))
    early = rng.random() < 0.5
    on_right = rng.random() < 0.5
    stamp = facts["date"] if rng.random() < 0.75 else f"{town(rng, region)}, {facts['date']}"

    def print_date() -> None:
        nonlocal y
        sheet.line(y, [(right, "r", stamp) if on_right else (margin, "l", stamp)], face, ["date"])
        y += step * 1.7

    if early:
        print_date()
    facts["recipient"] = str(person(rng) if rng.random() < 0.65 else company(rng, region, business=True))
    title = (
        str(pick(rng, ["", "", "Mr ", "Ms ", "Dr. "]))
        if facts["recipient"].istitle() and facts["recipient"].count(" ") == 1
        else ""
    )
    lines = [title + facts["recipient"], *address(rng, region)]
    for i, line in enumerate(lines):
        sheet.line(y, [(margin, "l", line)], face, ["recipient"] if i == 0 else [])
        y += step
    y += step * 0.8
    if not early:
        print_date()
    if rng.random() < 0.3:
        facts["number"] = f"{made_up(rng)[:2].upper()}/{digits(rng, 4)}"
        sheet.line(
            y,
            [(margin, "l", f"{pick(rng, ['Our ref:', 'Ref.', 'Reference:', 'Our reference'])} {facts['number']}")],
            face,
            ["number"],
        )
        y += step * 1.3

    def filled(template: str) -> str:
        amount = f"{int(rng.integers(2, 90)) * 5}.{pick(rng, ['00', '50', '90'])}"
        return template.format(
            n=digits(rng, 5),
            d=f"{int(rng.integers(1, 29))} {pick(rng, MONTHS)}",
            t=str(pick(rng, _THINGS)).replace("-", " "),
            p=town(rng, region),
            j=pick(rng, _JOBS),
            k=int(rng.integers(2, 30)),
            a=f"{pick(rng, ['$', 'EUR ', '£', 'RM '])}{amount}",
        )

    if rng.random() < 0.75:
        facts["subject"] = filled(str(pick(rng, _SUBJECTS)))
        label = str(pick(rng, ["", "", "Subject: ", "Re: ", "RE: ", "Subject: "]))
        sheet.line(y, [(margin, "l", label + facts["subject"])], strong, ["subject"], underline=rng.random() < 0.2)
        y += step * 1.6
    name = facts["recipient"].split()[-1]
    greeting = f"Dear {title}{name}" if title else "Dear Sir or Madam"
    if not title and facts["recipient"].istitle() and rng.random() < 0.6:
        greeting = f"{pick(rng, ['Dear', 'Dear', 'Hello', 'Hi'])} {facts['recipient'].split()[0]}"
    facts["salutation"] = greeting + str(pick(rng, [",", ",", ":"]))
    sheet.line(y, [(margin, "l", facts["salutation"])], face, ["salutation"])
    y += step * 1.4
    chosen = [filled(str(text)) for text in rng.choice(_SENTENCES, int(rng.integers(2, 6)), replace=False)]
    breaks = rng.random() < 0.4
    for paragraph in [" ".join(chosen[:2]), " ".join(chosen[2:])] if breaks and len(chosen) > 2 else [" ".join(chosen)]:
        for line in _wrapped(paragraph, face, right - margin):
            sheet.line(y, [(margin, "l", line)], face)
            y += step
        y += step * 0.6
    y += step * 0.4
    x = margin if rng.random() < 0.75 else width * 0.55
    closing = str(pick(rng, _CLOSINGS))
    facts["closing"] = closing
    sheet.line(y, [(x, "l", closing)], face, ["closing"])
    y += step * float(rng.uniform(1.2, 3.2))
    sheet.line(y, [(x, "l", facts["signer"])], face, ["signer"] if business else ["signer", "sender"])
    y += step
    if business and rng.random() < 0.5:
        sheet.line(y, [(x, "l", str(pick(rng, _POSTS)))], face)
        y += step
    y += margin + step * float(rng.uniform(0, 7))
    things, where = sheet.things()
    image, moved, printed = worn(sheet, y, things, rng)
    return Picture("documents", image, moved, facts | {"where": where} | printed)


def _wrapped(text: str, face, width: float) -> list[str]:
    """The words in lines that are not longer than ``width``."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and face.getlength(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]
