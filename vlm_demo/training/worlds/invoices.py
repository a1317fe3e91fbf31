"""Invoices: bills between invented firms, with seller, buyer, dates, a table of positions, and sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlm_demo.training.worlds.document_values import (
    address,
    company,
    currency,
    date_style,
    dated,
    day,
    digits,
    later,
    made_up,
    person,
    phone,
    pick,
)
from vlm_demo.training.worlds.fonts import HELD_OUT_FAMILY, font
from vlm_demo.training.worlds.paper import Sheet, least_width, worn
from vlm_demo.training.worlds.world import Picture

_GOODS = (
    "Consulting|Web design|Hosting|Domain renewal|Software license|Support hours|Training day|Travel costs|Printing|"
    "Office chair|Desk lamp|Monitor|Keyboard|Network cable|Laptop stand|Toner cartridge|Copy paper|Steel bolts|"
    "Oak board|"
    "Paint|Cleaning service|Maintenance|Installation|Delivery|Translation|Photo session|Logo design|Data storage|"
    "Fiber internet|Mobile plan|Coffee beans|Water filter|Garden work|Repair|Audit|Catering|Room rental|Spare parts|"
    "Electric cable|Pump|Sensor|Wooden pallet|Packaging|Insurance fee|Server rack|Backup service|Security check"
).split("|")
_NUMBER = "Invoice No.|Invoice Number|Invoice no|Invoice #|Invoice|Rechnung Nr.|Inv. No|Factuurnummer|Bill No.".split(
    "|"
)
_DATE = "Date|Invoice date|Invoice Date|Date of issue|Issue date|Issued|Billing date|Rechnungsdatum".split("|")
_DUE = "Due date|Due Date|Payment due|Due|Pay by|Due on|Payable by".split("|")
_TO = "Bill to|Bill To|BILL TO|Billed to|Invoice to|Customer|Sold to|To|Buyer|Client".split("|")
_TOTAL = (
    "Total|TOTAL|Grand total|Total due|Amount due|Invoice total|Total amount|Balance due|Amount payable|Total to pay|"
    "Gesamtbetrag|TOTAL DUE|Total incl. VAT|Total (incl. tax)"
).split("|")
_NET = "Subtotal|Net amount|Net|Total excl. VAT|Net total|Sub-total|Amount excl. tax".split("|")
_TERMS = (
    "Payment within {n} days|Payment terms: {n} days net|Terms: net {n}|Payable within {n} days without deduction|"
    "Please pay within {n} days"
).split("|")
_NOTES = (
    "Thank you for your business.|We appreciate your order.|Goods remain our property until paid in full.|"
    "Please quote the invoice number with your payment.|Late payments are subject to interest.|Questions? Call us."
).split("|")


def draw_invoice(rng: np.random.Generator, held_out: bool = False) -> Picture:
    """An invoice.

    ``facts``: ``type``; as printed, ``seller``, ``number``, ``date``, ``total``, and where there are such ``buyer``,
    ``due date``, ``phone``, ``tax``, ``subtotal``, ``iban``, ``order number``; ``items``, ``currency``, ``where`` and
    ``words``, ``texts`` as of a receipt.
    """
    region = str(rng.choice(["europe", "us", "uk", "malaysia"], p=[0.4, 0.27, 0.2, 0.13]))
    money = currency(rng, region)
    family = HELD_OUT_FAMILY if held_out else str(pick(rng, ["sans", "sans", "sans", "serif", "times", "mono"]))
    strong = {"sans": "sans-bold", "mono": "mono-bold"}.get(family, family)
    size = int(rng.integers(14, 18))
    face, bold, head = font(family, size), font(strong, size), font(strong, round(size * float(rng.uniform(1.3, 2.0))))
    facts: dict[str, Any] = {"type": "invoice", "currency": money.name}
    step, margin = size * float(rng.uniform(1.3, 1.65)), size * float(rng.uniform(1.5, 3.5))
    width = int(size * rng.uniform(38, 46))
    right = width - margin
    sheet = Sheet(width, int(rng.integers(0, 60)), coloured=rng.random() < 0.3)
    y = margin

    # the head: seller on one side; logo, title or nothing on the other
    seller = company(rng, region, business=True)
    facts["seller"] = seller
    mirrored = rng.random() < 0.3
    here, there = (right, margin) if mirrored else (margin, right)
    anchor, opposite = ("r", "l") if mirrored else ("l", "r")
    title = str(pick(rng, ["INVOICE", "Invoice", "INVOICE", "TAX INVOICE", "Rechnung", "Tax Invoice", "BILL"]))
    if rng.random() < 0.45:
        side = size * float(rng.uniform(3, 5))
        sheet.logo(there - (0 if mirrored else side * 2.2), y, side, seller, font(family, round(side * 0.6)), rng)
    elif rng.random() < 0.6:
        sheet.line(y, [(there, opposite, title)], head)
        title = ""
    large = head
    while large.size > 10 and large.getlength(seller) > (right - margin) * 0.62:
        large = font(strong, int(large.size) - 1)
    sheet.line(y, [(here, anchor, seller)], large if rng.random() < 0.7 else bold, ["seller"])
    y += step * max(1.2, large.size / size)
    contact = [(line, "") for line in address(rng, region)]
    if rng.random() < 0.5:
        facts["phone"] = phone(rng, region)
        contact.append((f"{pick(rng, ['Tel', 'Tel.', 'Phone:', 'T:', 'Tel:'])} {facts['phone']}", "phone"))
    if rng.random() < 0.3:
        contact.append((f"{pick(rng, ['info', 'office', 'billing', 'mail'])}@{made_up(rng).lower()}.com", ""))
    if rng.random() < 0.35:
        number = {"europe": f"DE{digits(rng, 9)}", "uk": f"GB{digits(rng, 9)}"}.get(
            region, f"{digits(rng, 2)}-{digits(rng, 7)}"
        )
        contact.append((f"{pick(rng, ['VAT ID', 'VAT No.', 'Tax ID', 'VAT Reg. No:'])} {number}", ""))
    for line, role in contact:
        sheet.line(y, [(here, anchor, line)], face, [role] if role else [])
        y += step
    y += step * float(rng.uniform(0.5, 2))
    if title and rng.random() < 0.8:
        sheet.line(y, [(margin, "l", title)], head)
        y += step * 1.8

    # buyer on the left, the invoice's numbers and dates on the right or under it
    style, issued = date_style(rng, region), day(rng)
    days = int(pick(rng, [7, 10, 14, 14, 21, 30, 30, 45, 60]))
    facts["date"] = dated(style, issued)
    facts["number"] = str(pick(rng, ["", "", "INV-", "RE-", "F", "2021-", "VF", "A/"])) + digits(
        rng, int(rng.integers(3, 10))
    )
    meta = [(str(pick(rng, _NUMBER)), facts["number"], "number"), (str(pick(rng, _DATE)), facts["date"], "date")]
    if rng.random() < 0.55:
        facts["due date"] = dated(style, later(issued, days))
        meta.append((str(pick(rng, _DUE)), facts["due date"], "due date"))
    if rng.random() < 0.3:
        facts["order number"] = str(pick(rng, ["PO-", "", "O", "SO"])) + digits(rng, 5)
        meta.append(
            (
                str(pick(rng, ["Order No.", "Order number", "PO Number", "Your order"])),
                facts["order number"],
                "order number",
            )
        )
    if rng.random() < 0.25:
        meta.append((str(pick(rng, ["Customer No.", "Customer ID", "Account"])), digits(rng, 6), ""))
    colon = str(pick(rng, [":", ":", ""]))
    beside = rng.random() < 0.65
    top, reach = y, float(rng.uniform(0.52, 0.6)) * width
    if rng.random() < 0.85:
        buyer = person(rng) if rng.random() < 0.4 else company(rng, region, business=rng.random() < 0.6)
        facts["buyer"] = buyer
        if rng.random() < 0.7:
            sheet.line(y, [(margin, "l", f"{pick(rng, _TO)}{colon}")], bold)
            y += step
        for i, line in enumerate([buyer, *address(rng, region)]):
            fitting = face
            while fitting.size > 10 and beside and fitting.getlength(line) > reach - margin - size:
                fitting = font(family, int(fitting.size) - 1)
            sheet.line(y, [(margin, "l", line)], fitting, ["buyer"] if i == 0 else [])
            y += step
    low = y
    y = top if beside else y + step
    aligned = rng.random() < 0.6
    for label, value, role in meta:
        x = reach if beside else margin
        room = max(face.getlength(name + colon) for name, _, _ in meta) + size
        if aligned and beside:
            pieces = [(x, "l", label + colon), (max(right, x + room + face.getlength(value)), "r", value)]
        elif aligned:
            pieces = [(x, "l", label + colon), (x + room, "l", value)]
        else:
            pieces = [(x, "l", f"{label}{colon} {value}")]
        sheet.line(y, pieces, face, [role] if role else [])
        y += step
    y = max(y, low) + step * float(rng.uniform(0.7, 2))

    # the positions
    goods = [str(name) for name in rng.choice(_GOODS, int(rng.integers(1, 8)), replace=False)]
    goods = [f"{made_up(rng)} {name}" if rng.random() < 0.15 else name for name in goods]
    scale = float(pick(rng, [15.0, 60.0, 300.0, 900.0]))
    counts = [1 if rng.random() < 0.4 else int(rng.integers(2, 25)) for _ in goods]
    prices = [round(float(rng.exponential(scale)) + 1, 2) for _ in goods]
    sums = [round(count * price, 2) for count, price in zip(counts, prices, strict=True)]
    simple = rng.random() < 0.2
    numbered = not simple and rng.random() < 0.35
    names = pick(
        rng,
        [
            ("Description", "Qty", "Unit price", "Amount"),
            ("Item", "Quantity", "Price", "Total"),
            ("Description", "Hours", "Rate", "Amount"),
            ("Article", "Qty", "Unit Price", "Line total"),
        ],
    )
    places = (
        ((0.0, "l"), (1.0, "r")) if simple else ((0.07 if numbered else 0.0, "l"), (0.58, "r"), (0.79, "r"), (1.0, "r"))
    )
    header = (names[0], names[3]) if simple else names
    marked = rng.random() < 0.35
    shown = money.priced if marked else money.number
    rows = [
        (name, shown(total)) if simple else (name, str(count), shown(price), shown(total))
        for name, count, price, total in zip(goods, counts, prices, sums, strict=True)
    ]
    small = face
    while small.size > 10 and any(
        least_width([(s, a, t) for (s, a), t in zip(places, row, strict=True)], small) > right - margin - size
        for row in [header, *rows]
    ):
        small = font(family, int(small.size) - 1)
    boxed, top = rng.random() < 0.3, y
    inner = right - margin - (size if boxed else 0)
    x0 = margin + (size / 2 if boxed else 0)
    shaded = not boxed and rng.random() < 0.3
    if shaded:
        dark = rng.random() < 0.4
        sheet.draw.rectangle(
            (margin - 4, y - 2, right + 4, y + step - 2),
            fill=sheet.tone(int(rng.integers(30, 90)) if dark else int(rng.integers(205, 235))),
        )
    pos = str(pick(rng, ["#", "Pos", "No."]))
    lead = [(x0, "l", pos)] if numbered else []
    sheet.line(
        y,
        lead + [(x0 + s * inner, a, t) for (s, a), t in zip(places, header, strict=True)],
        font(strong, int(small.size)) if rng.random() < 0.7 else small,
        ink=sheet.tone(255) if shaded and dark else None,
    )
    y += step
    if not shaded:
        sheet.rule(y - step * 0.12, margin, right)
    lined = boxed or rng.random() < 0.3
    facts["items"] = []
    for i, row in enumerate(rows):
        lead = [(x0, "l", str(i + 1))] if numbered else []
        sheet.line(
            y + step * 0.15,
            lead + [(x0 + s * inner, a, t) for (s, a), t in zip(places, row, strict=True)],
            small,
            [f"item {i}", f"name {i}"],
        )
        y += step * 1.15
        if lined or i == len(rows) - 1:
            sheet.rule(y + step * 0.05, margin, right)
        price = money.number(sums[i]) if simple or counts[i] == 1 else ""
        facts["items"].append({"name": goods[i], "price": price, "quantity": "" if simple else str(counts[i])})
    if boxed:
        sheet.draw.rectangle((margin, top - 2, right, y + step * 0.05), outline=sheet.ink)
    sheet.table((margin, top - 2, right, y + step * 0.1))
    y += step * 0.6

    # the sums
    net = round(sum(sums), 2)
    rate = float(
        pick(
            rng,
            {"europe": [0.19, 0.2, 0.21, 0.07], "us": [0.0, 0.06, 0.0825], "uk": [0.2], "malaysia": [0.06, 0.0]}[
                region
            ],
        )
    )
    tax = round(net * rate, 2) if rng.random() < 0.85 else 0.0
    total = round(net + tax, 2)
    lines: list[tuple[str, str, str, bool]] = []
    if tax or rng.random() < 0.3:
        facts["subtotal"] = money.number(net)
        lines.append((str(pick(rng, _NET)), shown(net), "subtotal", False))
    if tax:
        facts["tax"] = money.number(tax)
        name = str(
            pick(
                rng,
                {"us": ["Sales tax", "Tax"], "malaysia": ["GST", "SST"], "uk": ["VAT"]}.get(
                    region, ["VAT", "VAT", "Tax", "MwSt"]
                ),
            )
        )
        percent = f"{rate * 100:g}%".replace(".", money.point)
        lines.append((str(pick(rng, [f"{name} {percent}", f"{name} ({percent})", name])), shown(tax), "tax", False))
    facts["total"] = money.number(total)
    lines.append(
        (
            str(pick(rng, _TOTAL)),
            money.priced(total) if rng.random() < 0.75 else shown(total),
            "total",
            bool(rng.random() < 0.7),
        )
    )
    start = width * float(rng.uniform(0.48, 0.58))
    for label, value, role, heavy in lines:
        used = bold if heavy else face
        sheet.line(y, [(start, "l", label + colon), (right, "r", value)], used, [role])
        y += step * 1.1
    y += step * float(rng.uniform(0.5, 2))

    # payment
    foot: list[tuple[str, str]] = []
    if rng.random() < 0.5:
        foot.append((str(pick(rng, _TERMS)).format(n=days), "terms"))
        facts["terms"] = f"{days} days" if "days" in foot[-1][0] else str(days)
    if rng.random() < (0.6 if region == "europe" else 0.25):
        code = str(pick(rng, ["DE", "NL", "FR", "IT", "AT", "GB", "ES"]))
        groups = " ".join(digits(rng, 4) for _ in range(4))
        facts["iban"] = f"{code}{digits(rng, 2)} {groups} {digits(rng, 2)}"
        foot.append((f"IBAN{pick(rng, [':', ''])} {facts['iban']}", "iban"))
        if rng.random() < 0.5:
            foot.append((f"BIC: {made_up(rng).upper()[:4]}{code}{pick(rng, ['2L', 'FF', 'MM'])}", ""))
    foot += [(str(note), "") for note in rng.choice(_NOTES, int(rng.integers(0, 3)), replace=False)]
    for text, role in foot:
        sheet.line(y, [(margin, "l", text)], face, [role] if role else [])
        y += step
    y += margin + step * float(rng.uniform(0, 6))
    things, where = sheet.things()
    image, moved, printed = worn(sheet, y, things, rng)
    return Picture("documents", image, moved, facts | {"where": where} | printed)
