"""Receipts: till slips of invented shops, drawn by seed, with the lines that OCR should read from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from vlm_demo.synthetic.fonts import HELD_OUT_FAMILY, font
from vlm_demo.synthetic.world import Picture

_FIRST = (
    "Sunny Golden Green Blue River Lake Hill Royal Happy Lucky Fresh City Metro Grand Little Old New Silver Red Star "
    "Ocean Forest Garden Harbour Central Corner Family Prime Super Best Quick Urban Village Maple Oak "
    "Cedar Lotus Tiger "
    "Falcon Pioneer Summit Valley Sunrise Moon Anchor Bella Casa Nova Delta Alpha Omega Unity Perfect "
    "Smart Kim Tan Lee "
    "Mario Hansen Patel Garcia Weber Rossi Novak Wong Chen Gill Murphy Baker Schmidt"
).split()
_SECOND = (
    "Mart Market Store Shop Bakery Cafe Restaurant Pharmacy Foods Grocer Grill Kitchen Hardware Books "
    "Trading Stationery "
    "Deli Bistro Pizza Electronics Garage Florist Outlet Supermarket Minimart Enterprise Coffee House Bar Boutique Toys"
).split()
_SUFFIX = ("", "", "", "", "", " Ltd", " Inc", " SDN BHD", " & Co", " GmbH", " LLC", " 24", " Express", " Centre")
_ITEMS = (
    "Milk Bread Butter Cheese Eggs Rice Apples Bananas Coffee Tea Sugar Salt Pasta Tomatoes Onions Chicken Beef Fish "
    "Juice Water Soap Shampoo Pen Notebook Batteries Cable Lamp Socks Burger Fries Salad Soup Cake Cookies Chocolate "
    "Yogurt Cereal Oil Flour Candles Tape Glue Brush Paper Towel Noodles Curry Latte Espresso Muffin Sandwich"
).split()
_TOTAL = (
    "TOTAL|Total|TOTAL|Total|GRAND TOTAL|Grand Total|TOTAL DUE|Amount Due|AMOUNT DUE|Balance Due|Total "
    "Amount|NET TOTAL|"
    "Nett Total|TOTAL SALES|Total Payable|Round'd Total|TOTAL RM|Total (RM)|TOTAL INCL. GST|Total "
    "Inclusive of Tax|To pay"
).split("|")
_SUBTOTAL = "SUBTOTAL|Subtotal|Sub Total|SUB-TOTAL|Net|Total excl. tax|TOTAL EXCL. GST".split("|")
_TAX = "TAX|Tax|VAT|GST|GST 6%|Sales tax|VAT 20%|Service charge".split("|")
_PAY = "CASH|Cash|VISA|Card|Mastercard|Tendered|PAID|Cash Tendered".split("|")
_CHANGE = "CHANGE|Change|Change Due|CHANGE DUE".split("|")
_THANKS = (
    "Thank you!|THANK YOU|Please come again|Have a nice day|Thank you for shopping with us|Goods sold "
    "are not refundable|"
    "Keep this receipt|See you soon|Exchange within 7 days|www.example.com"
).split("|")
_STREETS = (
    "Main Street|High Street|Station Road|Park Avenue|Jalan Merdeka|Market Square|Church Lane|Mill Road|Bay Drive"
).split("|")
_TOWNS = (
    "Springfield|Riverton|Lakeside|Kuala Lumpur|Oxford|Denver|Selangor|Leeds|Austin|Johor|Hamburg|Dublin|Perth".split(
        "|"
    )
)
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


@dataclass(frozen=True)
class Line:
    """One printed line: text at the left, text at the right, and the fact it carries (or ``""``)."""

    left: str
    right: str = ""
    role: str = ""
    centred: bool = False

    @property
    def text(self) -> str:
        """What a reader sees, the gap between the columns as one space."""
        return f"{self.left} {self.right}".strip()


def draw_receipt(rng: np.random.Generator, held_out: bool = False) -> Picture:
    """A receipt.

    ``facts``: ``shop``, ``date``, ``total``, ``items`` (name, price), perhaps ``cash``, ``change``, ``tax``, ``phone``,
    ``time``, ``number``, and ``texts``, the printed lines from the top.
    """
    facts, lines = _compose(rng)
    family = (
        HELD_OUT_FAMILY
        if held_out
        else str(rng.choice(["mono", "mono", "mono-bold", "sans", "sans", "serif", "times"]))
    )
    size = int(rng.integers(15, 24))
    face, bold = font(family, size), font(family, round(size * rng.uniform(1.0, 1.5)))
    width = int(size * rng.uniform(22, 30))
    step = round(size * rng.uniform(1.3, 1.7))
    margin = round(size * rng.uniform(0.8, 1.8))
    height = margin * 2 + step * sum(1.6 if line.role == "shop" else 1 for line in lines).__ceil__() + step
    paper = int(rng.integers(225, 256))
    ink = int(rng.integers(0, 70))
    image = Image.new("L", (width, height), paper)
    draw = ImageDraw.Draw(image)
    y = margin
    for line in lines:
        shown = bold if line.role in ("shop", "total") else face
        while shown.getlength(line.text) > width - 2 * margin and shown.size > 9:
            shown = font(family, int(shown.size) - 1)
        if line.centred:
            draw.text((width / 2, y), line.text, fill=ink, font=shown, anchor="ma")
        else:
            draw.text((margin, y), line.left, fill=ink, font=shown)
            draw.text((width - margin, y), line.right, fill=ink, font=shown, anchor="ra")
        y += round(step * (1.6 if line.role == "shop" else 1))
        if line.role in ("items", "phone") and rng.random() < 0.5:
            draw.line((margin, y, width - margin, y), fill=ink)
            y += step // 3
    image = image.crop((0, 0, width, min(height, y + margin)))
    if rng.random() < 0.4:
        image = image.rotate(rng.uniform(-1.2, 1.2), resample=Image.Resampling.BILINEAR, expand=True, fillcolor=paper)
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(2, 10), (image.height, image.width))
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    return Picture("documents", image.convert("RGB"), (), facts)


def _money(value: float, rng: np.random.Generator | None = None) -> str:
    return f"{value:,.2f}" if value < 1000 or (rng is not None and rng.random() < 0.5) else f"{value:.2f}"


def _date(rng: np.random.Generator) -> str:
    day, month, year = int(rng.integers(1, 29)), int(rng.integers(1, 13)), int(rng.integers(2009, 2027))
    style = rng.integers(9)
    if style == 0:
        return f"{day} {_MONTHS[month - 1]} {year}"
    if style == 1:
        return f"{_MONTHS[month - 1]} {day}, {year}"
    if style == 2:
        return f"{year}-{month:02}-{day:02}"
    if style == 3:
        return f"{day:02}-{month:02}-{year}"
    if style == 4:
        return f"{day:02}.{month:02}.{year}"
    if style == 5:
        return f"{day:02}/{month:02}/{year % 100:02}"
    if style == 6:
        return f"{month:02}/{day:02}/{year}"
    return f"{day:02}/{month:02}/{year}"


def _shop(rng: np.random.Generator) -> str:
    name = f"{rng.choice(_FIRST)} {rng.choice(_SECOND)}"
    if rng.random() < 0.25:
        name = f"{rng.choice(_FIRST)} {name}"
    elif rng.random() < 0.15:
        name = str(rng.choice(_FIRST)) + "'s " + str(rng.choice(_SECOND))
    elif rng.random() < 0.15:
        letters = "".join(chr(65 + int(i)) for i in rng.integers(0, 26, int(rng.integers(2, 5))))
        name = f"{letters} {rng.choice(_SECOND)}"
    elif rng.random() < 0.15:
        syllables = "ka lo mi ra ten vor sun bel da pri qua zen fi gro hul ja".split()
        made = "".join(str(s) for s in rng.choice(syllables, int(rng.integers(2, 4)))).capitalize()
        name = f"{made} {rng.choice(_SECOND)}"
    name += str(rng.choice(_SUFFIX))
    style = rng.random()
    return name.upper() if style < 0.5 else name


def _compose(rng: np.random.Generator) -> tuple[dict[str, object], list[Line]]:
    facts: dict[str, Any] = {"shop": _shop(rng), "date": _date(rng)}
    currency = str(rng.choice(["", "", "", "$", "€", "£", "RM ", "RM"]))
    lines: list[Line] = []
    if rng.random() < 0.12:
        lines.append(Line(str(rng.choice(["*** RECEIPT ***", "WELCOME", "COPY", "Welcome to"])), centred=True))
    centred = bool(rng.random() < 0.75)
    lines.append(Line(str(facts["shop"]), role="shop", centred=centred))
    if rng.random() < 0.25:
        lines.append(Line(f"({int(rng.integers(100000, 999999))}-{chr(65 + int(rng.integers(26)))})", centred=centred))
    if rng.random() < 0.75:
        lines.append(Line(f"{int(rng.integers(1, 300))} {rng.choice(_STREETS)}", centred=centred))
        lines.append(Line(f"{int(rng.integers(10000, 99999))} {rng.choice(_TOWNS)}", centred=centred))
    if rng.random() < 0.5:
        facts["phone"] = f"{int(rng.integers(10, 99)):03}-{int(rng.integers(1000000, 9999999))}"
        lines.append(
            Line(f"{rng.choice(['Tel:', 'Phone:', 'TEL', 'Tel'])} {facts['phone']}", role="phone", centred=centred)
        )
    if rng.random() < 0.3:
        lines.append(Line(str(rng.choice(["TAX INVOICE", "CASH RECEIPT", "INVOICE", "SALES RECEIPT"])), centred=True))
    clock = f"{int(rng.integers(7, 23)):02}:{int(rng.integers(60)):02}"
    head = [_date_line(str(facts["date"]), clock, facts, rng)]
    if rng.random() < 0.6:
        facts["number"] = str(rng.choice(["", "", "R", "INV-", "A", "CS"])) + str(int(rng.integers(1000, 9999999)))
        label = str(rng.choice(["Receipt No:", "Invoice No:", "No.", "Bill:", "Receipt #:", "Doc No:"]))
        head.append(Line(f"{label} {facts['number']}", role="number"))
    if rng.random() < 0.4:
        head.append(Line(f"Cashier: {rng.choice(['Anna', 'Ben', 'Mei', 'Sam', '01', '12', 'Admin'])}"))
    late = rng.random() < 0.15
    if not late:
        lines += [head[i] for i in rng.permutation(len(head))]
    items = []
    for name in rng.choice(_ITEMS, int(rng.integers(1, 8)), replace=False):
        price = round(
            float(rng.choice([rng.uniform(0.5, 10), rng.uniform(5, 90), rng.uniform(50, 900)], p=[0.5, 0.4, 0.1])), 2
        )
        items.append((str(name), price))
    upper = rng.random() < 0.4
    for name, price in items:
        shown = name.upper() if upper else name
        if rng.random() < 0.3:
            shown = f"{int(rng.integers(1, 4))} {shown}"
        lines.append(Line(shown, currency + _money(price, rng)))
    facts["items"] = [(name, _money(price)) for name, price in items]
    subtotal = round(sum(price for _, price in items), 2)
    tax = round(subtotal * float(rng.choice([0.05, 0.06, 0.08, 0.1, 0.2])), 2) if rng.random() < 0.5 else 0.0
    total = _money(round(subtotal + tax, 2), rng)
    if tax or rng.random() < 0.3:
        lines.append(Line(str(rng.choice(_SUBTOTAL)), currency + _money(subtotal, rng)))
    if tax:
        facts["tax"] = _money(tax)
        lines.append(Line(str(rng.choice(_TAX)), currency + _money(tax), role="tax"))
    facts["total"] = total
    colon = ":" if rng.random() < 0.25 else ""
    lines.append(Line(str(rng.choice(_TOTAL)) + colon, currency + total, role="total"))
    if rng.random() < 0.6:
        given = subtotal + tax + (0 if rng.random() < 0.3 else float(rng.choice([0.5, 1, 2.3, 5, 10, 20.05])))
        facts["cash"] = _money(round(given, 2))
        lines.append(Line(str(rng.choice(_PAY)), currency + str(facts["cash"]), role="cash"))
        if rng.random() < 0.8:
            facts["change"] = _money(abs(round(given - subtotal - tax, 2)))
            lines.append(Line(str(rng.choice(_CHANGE)), currency + str(facts["change"]), role="change"))
    if late:
        lines += head
    for text in rng.choice(_THANKS, int(rng.integers(0, 3)), replace=False):
        lines.append(Line(str(text), centred=True))
    facts["texts"] = [line.text for line in lines]
    return facts, lines


def _date_line(date: str, clock: str, facts: dict[str, Any], rng: np.random.Generator) -> Line:
    style = rng.integers(5)
    if style == 0:
        return Line(f"Date: {date}", role="date")
    if style == 1:
        facts["time"] = clock
        return Line(f"{date} {clock}", role="date")
    if style == 2:
        facts["time"] = clock
        return Line(f"Date: {date}", f"Time: {clock}", role="date")
    if style == 3:
        facts["time"] = clock
        return Line(date, clock, role="date")
    return Line(f"{rng.choice(['DATE', 'Date :', 'Invoice Date:', 'Dated'])} {date}", role="date")
