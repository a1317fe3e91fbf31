"""Receipts: till slips of invented shops, drawn by seed, with the lines that OCR should read from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vlm_demo.training.worlds.document_values import (
    REGIONS,
    address,
    clock,
    company,
    currency,
    date_style,
    dated,
    day,
    digits,
    given,
    made_up,
    phone,
    pick,
)
from vlm_demo.training.worlds.fonts import HELD_OUT_FAMILY, font
from vlm_demo.training.worlds.paper import Sheet, least_width, worn
from vlm_demo.training.worlds.world import Picture

_ITEMS = (
    "Milk Bread Butter Cheese Eggs Rice Apples Bananas Coffee Tea Sugar Salt Pasta Tomatoes Onions Chicken Beef Fish "
    "Juice Water Soap Shampoo Pen Notebook Batteries Cable Lamp Socks Burger Fries Salad Soup Cake Cookies Chocolate "
    "Yogurt Cereal Oil Flour Candles Tape Glue Brush Paper Towel Noodles Curry Latte Espresso Muffin Sandwich Kopi Teh "
    "Milo Roti Satay Tofu Prawn Pillow Screw Hammer Paint Roller Hose Bulb Socket Plug Filter Gloves Mop Broom "
    "Detergent Toothpaste Tissue Diapers Vitamin Aspirin Balloon Ribbon Envelope Folder Marker Scissors Stapler Pizza"
).split()
_KINDS = (
    "Fresh Large Small Iced Hot Fried Grilled White Brown Black Green Sweet Mini Extra Family Classic Organic Salted "
    "Crispy Thai Spicy Royal Premium Baked Special"
).split()
_PACKS = "500g|1kg|250ml|1.5L|x12|(L)|(B)|4\"|100'S|6pcs|325ML|2KG|NO.5|A4|12mm|450G".split("|")
_TITLES = {
    "malaysia": "TAX INVOICE|TAX INVOICE|Tax Invoice|SIMPLIFIED TAX INVOICE|CASH BILL|INVOICE|CASH SALES|RECEIPT",
    "europe": "RECEIPT|Kassenbon|Rechnung|Ticket|Receipt",
    "us": "SALES RECEIPT|RECEIPT|GUEST CHECK|CUSTOMER COPY",
    "uk": "RECEIPT|VAT RECEIPT|SALES RECEIPT|CUSTOMER COPY",
}
_NUMBER = {
    "malaysia": "Invoice No|Invoice No.|INV NO|Bill No|Doc No|Document No|Receipt #|Receipt No|INVOICE NO|Bill#|"
    "Slip No",
    "europe": "Bon-Nr.|Receipt No.|Beleg|No.|Ticket No",
    "us": "Receipt #|Order #|Check #|Trans #|Receipt No",
    "uk": "Receipt No|Receipt No.|Bill No|Order No|Transaction",
}
_TOTAL = {
    "malaysia": "TOTAL|Total|Grand Total|GRAND TOTAL|NET TOTAL|Nett Total|TOTAL AMOUNT|Total Amount|TOTAL RM|"
    "Total (RM)|"
    "TOTAL DUE|Amount Due|Total Payable|TOTAL AMT PAYABLE|NETT TOTAL|Bill Total|Total Amt (RM)",
    "europe": "TOTAL|Total|Summe|SUMME EUR|TOTAL EUR|Gesamt|Total to pay|Totaal|TOTALE",
    "us": "TOTAL|Total|TOTAL DUE|Amount Due|AMOUNT DUE|Balance Due|BALANCE DUE|Grand Total|Order Total",
    "uk": "TOTAL|Total|TOTAL TO PAY|Total to pay|BALANCE DUE|Balance Due|Amount Due|TOTAL DUE",
}
_INCLUSIVE = (
    "Total Inclusive GST|Total Sales (Inclusive GST)|Total Sales (Inclusive of GST)|TOTAL INCL. GST|Total Incl GST @6%|"
    "Total (Inclusive of GST)|TOTAL SALES INCLUSIVE OF GST|Total Amount (Incl. GST)"
).split("|")
_ROUNDED = (
    "ROUNDED TOTAL (RM)|Rounded Total|Round'd Total (RM)|TOTAL ROUNDED|Rounded Total (RM)|TOTAL AFTER ROUNDING".split(
        "|"
    )
)
_TAXES = {
    "malaysia": ("GST 6%|GST @6%|GST payable (6%)|Total GST|GST AMOUNT|Tax|SST 6%|GST", (0.06,)),
    "europe": ("MwSt 19%|VAT|VAT 20%|BTW 21%|IVA 22%|incl. MwSt", (0.19, 0.2, 0.21, 0.07)),
    "us": ("Sales Tax|TAX|Tax|Tax 8.25%|State Tax|SALES TAX", (0.0825, 0.07, 0.06, 0.1)),
    "uk": ("VAT|VAT 20%|VAT @ 20%|Tax", (0.2, 0.05)),
}
_CASH = "CASH|Cash|CASH|Cash Received|Cash Tendered|CASH TENDERED|Tendered|PAID CASH|Cash Paid".split("|")
_CARDS = "VISA|Card|MASTERCARD|Mastercard|Visa Card|DEBIT CARD|VISA DEBIT|AMEX|EC-Karte|Credit Card".split("|")
_CHANGE = "CHANGE|Change|Change|Change Due|CHANGE DUE|Your Change".split("|")
_THANKS = (
    "Thank you!|THANK YOU|Please come again|THANK YOU, PLEASE COME AGAIN|Have a nice day|"
    "Thank you for shopping with us|"
    "Goods sold are not refundable|GOODS SOLD ARE NOT RETURNABLE|Keep this receipt|See you soon|Exchange within 7 days|"
    "Follow us on Facebook|PLEASE COME AGAIN !|E. & O. E.|Customer service: 1300-88-2525|Returns within 14 days only|"
    "Powered by QPos|Vielen Dank|Thank You. Please Come Again.|Keep the invoice for applicable returns|"
    "Tell us about your visit|This is a computer generated receipt|All prices include tax"
).split("|")
_SITES = "com com.my de co.uk net".split()


@dataclass(frozen=True)
class Line:
    """One printed line: pieces at shares of the width with their anchors, and the facts that it carries."""

    pieces: tuple[tuple[float, str, str], ...] = ()
    roles: tuple[str, ...] = ()
    strong: bool = False
    rule: str = ""  # instead of text: how a line across is drawn, or "barcode"


def left(text: str, *roles: str) -> Line:
    """Text from the left margin."""
    return Line(((0.0, "l", text),), roles)


def centred(text: str, *roles: str, strong: bool = False) -> Line:
    """Text in the middle."""
    return Line(((0.5, "m", text),), roles, strong)


def pair(label: str, value: str, *roles: str, strong: bool = False) -> Line:
    """A label at the left, its value at the right."""
    return Line(((0.0, "l", label), (1.0, "r", value)), roles, strong)


def draw_receipt(rng: np.random.Generator, held_out: bool = False) -> Picture:
    """A receipt.

    ``facts``: ``type``; as printed, ``shop``, ``date``, ``total``, and where there are such ``number``, ``time``,
    ``phone``, ``cash``, ``change``, ``tax``, ``subtotal``, ``discount``, ``cashier``, ``table``; ``items``, each a dict
    of ``name``, ``price`` ("" if it could be either of two), ``quantity`` ("" if not printed); ``currency``, a word, or
    "" if no mark tells; ``where``, the thing of each fact; ``words``, ``texts``, the printed lines from the top.
    """
    slip = Slip(rng)
    family = (
        HELD_OUT_FAMILY
        if held_out
        else str(pick(rng, ["mono", "mono", "mono", "mono-bold", "sans", "sans", "serif", "times"]))
    )
    size = int(rng.integers(15, 22))
    face, large = font(family, size), font(family, round(size * float(rng.uniform(1.0, 1.45))))
    needed = max(least_width(line.pieces, face) for line in slip.lines)
    margin = round(size * float(rng.uniform(0.5, 2.0)))
    inner = int(min(max(needed + size * rng.uniform(0.5, 3), size * rng.uniform(18, 27)), size * 36))
    step = size * float(rng.uniform(1.2, 1.65))
    coloured = rng.random() < 0.1
    sheet = Sheet(inner + 2 * margin, int(rng.integers(0, 75)), coloured)
    y = margin + size * float(rng.uniform(0, 2))
    if rng.random() < 0.13:
        side = size * float(rng.uniform(2.5, 5))
        sheet.logo(margin + (inner - side) / 2, y, side, slip.facts["shop"], font(family, round(side * 0.6)), rng)
        y += side + step / 2
    ruled = str(pick(rng, ["solid", "dashed", "dashed", "dotted"]))
    strong = "mono-bold" if family == "mono" else "sans-bold" if family == "sans" else family
    bold = rng.random() < 0.4
    for line in slip.lines:
        if line.rule == "barcode":
            sheet.barcode(y, margin + inner * 0.15, margin + inner * 0.85, step * 1.5, rng)
            y += step * 2
        elif line.rule:
            sheet.rule(y + step * 0.3, margin, margin + inner, ruled, int(rng.integers(1, 3)))
            y += step * 0.65
        else:
            shown = large if line.strong else face
            if line.strong and bold:
                shown = font(strong, int(large.size))
            while shown.size > 9 and least_width(line.pieces, shown) > inner:
                shown = font(family, int(shown.size) - 1)
            sheet.line(
                y, [(margin + share * inner, anchor, text) for share, anchor, text in line.pieces], shown, line.roles
            )
            y += step * max(1.0, shown.size / face.size)
    y += margin + (step * float(rng.uniform(0, 4)) if rng.random() < 0.5 else 0)
    things, where = sheet.things()
    image, moved, printed = worn(sheet, y, things, rng, thermal=True)
    facts = slip.facts | {"type": "receipt", "where": where} | printed
    return Picture("documents", image, moved, facts)


@dataclass
class _Goods:
    """One article: what is printed of it, and what it costs."""

    name: str
    quantity: int
    price: float
    code: str = ""

    @property
    def sum(self) -> float:
        return round(self.price * self.quantity, 2)


@dataclass
class _Sums:
    """The sums of a slip."""

    goods: float
    discount: float = 0.0
    service: float = 0.0
    tax: float = 0.0
    rounding: float = 0.0
    total: float = field(init=False)

    def __post_init__(self) -> None:
        self.total = round(self.goods - self.discount + self.service + self.tax + self.rounding, 2)


class Slip:
    """The lines of one receipt, and its facts."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.region = str(rng.choice(REGIONS, p=[0.5, 0.16, 0.2, 0.14]))
        self.money = currency(rng, self.region)
        self.long = rng.random() < 0.75
        self.marks = rng.random() < 0.4  # currency marks at the amounts
        self.lines: list[Line] = []
        self.facts: dict[str, Any] = {"currency": ""}
        self.capitals = rng.random() < 0.5
        self.colon = str(pick(rng, [":", " :", ": ", "", ":"]))
        goods = self._goods()
        self._head()
        late = rng.random() < 0.1
        if not late:
            self._meta()
        self._rule()
        self._items(goods)
        self._rule()
        self._sums(goods)
        if late:
            self._rule()
            self._meta()
        self._foot()

    def chance(self, share: float) -> bool:
        """True in this share of the cases; long slips have more of everything."""
        return bool(self.rng.random() < (min(0.95, share * 1.35) if self.long else share * 0.6))

    def pick(self, options):
        """One of the options; of those of the region, if the options differ between regions."""
        if isinstance(options, dict):
            options = options[self.region]
        return pick(self.rng, options.split("|") if isinstance(options, str) else options)

    def say(self, text: str) -> str:
        """Text in the slip's case."""
        return text.upper() if self.capitals else text

    def _rule(self) -> None:
        style = self.rng.random()
        if style < 0.35:
            self.lines.append(Line(rule="line"))
        elif style < 0.5:
            self.lines.append(centred(self.pick(["-", "=", "*", "-"]) * int(self.rng.integers(20, 36))))

    def _head(self) -> None:
        rng, lines = self.rng, self.lines
        middle = rng.random() < 0.8
        place = centred if middle else left
        if rng.random() < 0.08:
            lines.append(centred(self.pick(["*** RECEIPT ***", "WELCOME", "COPY", "Welcome to", "*** DUPLICATE ***"])))
        shop = company(rng, self.region)
        self.facts["shop"] = shop
        strong, parts = rng.random() < 0.65, [shop]
        if len(shop) > 20 and rng.random() < 0.3:
            cut = shop.rindex(" ", 0, len(shop) - 8) if " " in shop[:-8] else shop.index(" ")
            parts = [shop[:cut], shop[cut + 1 :]]
        for part in parts:
            lines.append(Line(((0.5, "m", part) if middle else (0.0, "l", part),), ("shop",), strong))
        if self.region == "malaysia" and rng.random() < 0.65:
            number = f"{digits(rng, int(rng.choice([6, 6, 7])))}-{pick(rng, 'ABDHKMPTUVWX')}"
            style = self.pick(["({})", "({})", "{}", "(Co. Reg. No. {})", "Co No: {}", "CO.REG : {}", "REG NO: {}"])
            lines.append(place(style.format(number)))
        if self.chance(0.75):
            where = [
                place(self.say(line), *(["address"] if i == 0 else []))
                for i, line in enumerate(address(rng, self.region))
            ]
            self.facts["address"] = where[0].pieces[0][2]
            lines += where
        if self.chance(0.6):
            number = phone(rng, self.region)
            self.facts["phone"] = number
            label = self.pick(["TEL", "Tel", "TEL.", "Phone", "Tel No", "PHONE", "Telephone", "T"])
            text = f"{label}{self.pick([':', ': ', ' : ', ' '])}{number}"
            fax = f"{self.pick(['FAX', 'Fax'])}{self.pick([':', ': ', ' : '])}{phone(rng, self.region)}"
            style = rng.random()
            if style < 0.15:
                lines.append(place(f"{text} {fax}", "phone"))
            else:
                lines.append(place(text, "phone"))
                if style < 0.3:
                    lines.append(place(fax))
        if self.region == "malaysia" and self.chance(0.55):
            label = self.pick(["GST ID", "GST ID NO", "GST No.", "GST REG NO", "GST Reg #", "GST ID.", "(GST Reg No"])
            close = ")" if label.startswith("(") else ""
            lines.append(place(f"{label}{self.pick([': ', ' : ', ':'])}{digits(rng, 12).zfill(12)}{close}"))
        elif self.region != "malaysia" and self.chance(0.25):
            lines.append(
                place(
                    self.pick(
                        [f"VAT No. {digits(rng, 9)}", f"USt-IdNr. DE{digits(rng, 9)}", f"Tax ID {digits(rng, 8)}"]
                    )
                )
            )
        if self.chance(0.12):
            lines.append(place(f"www.{made_up(rng).lower()}.{self.pick(_SITES)}"))
        if self.chance(0.1):
            lines.append(Line(rule="barcode"))
        if self.chance(0.45):
            self._rule()
            lines.append(centred(self.pick(_TITLES), strong=rng.random() < 0.3))

    def _meta(self) -> None:
        rng = self.rng
        style = date_style(rng, self.region)
        self.facts["date"] = dated(style, day(rng))
        fields: list[tuple[str, str, str]] = []
        label = self.pick(["Date", "Date", "DATE", "Date", "Invoice Date", "Bill Date", ""])
        when = (label, self.facts["date"], "date")
        if rng.random() < 0.75:
            self.facts["time"] = clock(rng)
        if self.chance(0.75) or self.region == "malaysia":
            number = self.pick(["", "", "R", "INV-", "A", "CS", "OR", "CS00", "V001-", "18311/103/T", "#", "01-"])
            self.facts["number"] = number.strip("#") + digits(rng, int(rng.integers(4, 9)))
            fields.append((self.pick(_NUMBER), self.facts["number"], "number"))
        if self.chance(0.5):
            self.facts["cashier"] = self.say(
                self.pick([given(rng), given(rng), digits(rng, 2), "Admin", digits(rng, 3)])
            )
            fields.append(
                (
                    self.pick(["Cashier", "Cashier", "Server", "Served by", "Operator", "User"]),
                    self.facts["cashier"],
                    "cashier",
                )
            )
        if self.chance(0.22):
            self.facts["table"] = self.pick(["A", "T", "", ""]) + str(int(rng.integers(1, 40)))
            fields.append(("Table", self.facts["table"], "table number"))
        for name, value in (
            ("Pax", str(int(rng.integers(1, 9)))), ("Salesperson", given(rng)), ("Terminal", digits(rng, 2)),
            ("Member", digits(rng, 6)), ("Store", digits(rng, 3)), ("Ref", digits(rng, 5)), ("POS", digits(rng, 2)),
        ):  # fmt: skip
            if self.chance(0.09):
                fields.append((name, value, ""))
        fields = [fields[int(i)] for i in rng.permutation(len(fields))]
        time = self.facts.get("time", "")
        layout = rng.random()
        texts = [(f"{self.say(name)}{self.colon} {value}", role) for name, value, role in fields]
        head = f"{self.say(label)}{self.colon} " if label else ""
        if time and layout < 0.45:
            texts.insert(int(rng.integers(len(texts) + 1)), (f"{head}{when[1]} {time}", "date time"))
        elif time and layout < 0.7:
            texts.append((f"{head}{when[1]}|{self.pick(['Time: ', 'Time : ', '', 'TIME:'])}{time}", "date time"))
        else:
            at = int(rng.integers(len(texts) + 1))
            texts.insert(at, (head + when[1], "date"))
            if time:
                texts.insert(at + 1, (f"{self.say('Time')}{self.colon} {time}", "time"))
        aligned = rng.random() < 0.3
        paired = rng.random() < 0.25
        while texts:
            text, role = texts.pop(0)
            roles = ("table number",) if role == "table number" else tuple(role.split())
            if "|" in text:
                self.lines.append(pair(*text.split("|"), *roles))
            elif aligned and ": " in text:
                name, value = text.split(": ", 1)
                self.lines.append(Line(((0.0, "l", name.strip()), (0.32, "l", f": {value}")), roles))
            elif (
                paired
                and texts
                and len(text) + len(texts[0][0]) < 34
                and "|" not in texts[0][0]
                and role != "date time"
            ):
                other, also = texts.pop(0)
                more = ("table number",) if also == "table number" else tuple(also.split())
                self.lines.append(pair(text, other, *roles, *more))
            else:
                self.lines.append(left(text, *roles))

    def _goods(self) -> list[_Goods]:
        rng = self.rng
        count = int(rng.integers(5, 14)) if self.long else int(rng.integers(1, 5))
        if self.long and rng.random() < 0.25:
            count = int(rng.integers(2, 6))
        scale = float(rng.choice([3.0, 8.0, 25.0, 120.0], p=[0.3, 0.4, 0.2, 0.1]))
        names: list[str] = []
        while len(names) < count:
            name = made_up(rng) if rng.random() < 0.12 else str(pick(rng, _ITEMS))
            if rng.random() < 0.4:
                name = f"{pick(rng, _KINDS)} {name}"
            if rng.random() < 0.15:
                name = f"{made_up(rng)} {name}"
            if rng.random() < 0.15:
                name = f"{name} {pick(rng, _PACKS)}"
            if not any(name in other or other in name for other in names):
                names.append(name)
        goods = []
        for name in names:
            price = max(0.1, round(float(rng.exponential(scale)) + 0.3, 2))
            price = round(round(price * 20) / 20, 2) if rng.random() < 0.6 else price
            quantity = 1 if rng.random() < 0.65 else int(rng.integers(2, 7))
            goods.append(_Goods(self.say(name), quantity, max(0.05, price), digits(rng, int(pick(rng, [3, 4, 6, 12])))))
        return goods

    def _amount(self, value: float) -> str:
        return self.money.priced(value) if self.marks else self.money.number(value)

    def _items(self, goods: list[_Goods]) -> None:
        rng, number = self.rng, self.money.number
        style = int(rng.choice(6, p=[0.28, 0.14, 0.24, 0.12, 0.12, 0.1]))
        suffix = (
            self.pick([" SR", " SR", " S", " ZR", "", "", ""])
            if self.region == "malaysia"
            else self.pick([" A", " B", "", "", "", ""])
        )
        if self.region == "us":
            suffix = self.pick([" T", "", "", ""])
        titled = style in (1, 2, 3, 5) and rng.random() < 0.75 or rng.random() < 0.2
        if style == 2:
            columns = self.pick(
                [
                    ("Description", "Qty", "Price", "Amount"),
                    ("ITEM", "QTY", "U/P", "AMOUNT"),
                    ("Item", "Qty", "U.Price", "Total"),
                    ("Description", "QTY", "S/Price", "Amt"),
                ]
            )
            places = ((0.0, "l"), (0.56, "r"), (0.78, "r"), (1.0, "r"))
            if titled:
                self.lines.append(Line(tuple((x, a, t) for (x, a), t in zip(places, columns, strict=True))))
        elif titled:
            self.lines.append(self.pick([
                Line(((0.0, "l", "Item"), (0.6, "r", "Qty"), (1.0, "r", "Amount"))),
                Line(((0.0, "l", "CODE/DESC"), (0.65, "r", "PRICE"), (1.0, "r", "AMOUNT"))),
                Line(((0.0, "l", "Description"), (1.0, "r", self.pick(["Amount", "Total", "RM", "Price"])))),
            ]))  # fmt: skip
        if titled:
            self._rule()
        numbered, coded = rng.random() < 0.15, rng.random() < 0.2
        items: list[dict[str, str]] = []
        for i, article in enumerate(goods):
            role, quantity, cost = f"item {i}", str(article.quantity), self._amount(article.sum)
            name = article.name
            lead = f"{i + 1} " if numbered else f"{article.code} " if coded and style in (0, 3) else ""
            printed = True
            if style == 0:
                printed = bool(article.quantity > 1 or rng.random() < 0.15)
                count = self.pick([f"{quantity} ", f"{quantity}x ", f"{quantity} x "]) if printed else ""
                if numbered or coded:
                    printed = article.quantity > 1
                    count = ""
                    lead += f"{name} x{quantity}" if printed else name
                else:
                    lead = f"{count}{name}"
                self.lines.append(pair(lead, cost + suffix, role, f"name {i}"))
            elif style == 1:
                self.lines.append(left(lead + name, f"name {i}"))
                self.lines.append(
                    Line(
                        (
                            (0.05, "l", article.code),
                            (0.5, "r", f"{quantity} x"),
                            (0.74, "r", number(article.price)),
                            (1.0, "r", number(article.sum) + suffix),
                        ),
                        (role,),
                    )
                )
            elif style == 2:
                shown = lead + name
                if len(shown) > 15 and rng.random() < 0.8:
                    head, _, rest = shown[:15].rpartition(" ") if " " in shown[:15] else (shown, "", "")
                    rest = shown[len(head) :].strip()
                    self.lines.append(
                        Line(
                            (
                                (0.0, "l", head),
                                (0.56, "r", quantity),
                                (0.78, "r", number(article.price)),
                                (1.0, "r", number(article.sum)),
                            ),
                            (role,),
                        )
                    )
                    if rest:
                        self.lines.append(left(rest))
                else:
                    self.lines.append(
                        Line(
                            (
                                (0.0, "l", shown),
                                (0.56, "r", quantity),
                                (0.78, "r", number(article.price)),
                                (1.0, "r", number(article.sum)),
                            ),
                            (role, f"name {i}"),
                        )
                    )
            elif style == 3:
                self.lines.append(left(lead + name, f"name {i}"))
                self.lines.append(
                    Line(
                        (
                            (0.08, "l", f"{quantity} {self.pick(['x', '@', 'X'])} {number(article.price)}"),
                            (1.0, "r", cost + suffix),
                        ),
                        (role,),
                    )
                )
            elif style == 4:
                printed = bool(article.quantity > 1)
                self.lines.append(pair(lead + name, cost + suffix, f"name {i}", *([] if printed else [role])))
                if printed:
                    self.lines.append(Line(((0.06, "l", f"{quantity} x {number(article.price)}"),), (role,)))
            else:
                self.lines.append(left(f"{article.code} {name}", f"name {i}"))
                self.lines.append(
                    Line(
                        (
                            (0.04, "l", f"{quantity} {self.pick(['PC', 'UNIT', 'PCS', 'EA'])} *"),
                            (0.66, "r", number(article.price)),
                            (1.0, "r", number(article.sum) + suffix),
                        ),
                        (role,),
                    )
                )
            price = "" if article.quantity > 1 and printed else number(article.sum)
            items.append({"name": name, "price": price, "quantity": quantity if printed else ""})
        self.facts["items"] = items

    def _sums(self, goods: list[_Goods]) -> None:
        rng, number = self.rng, self.money.number
        subtotal = round(sum(article.sum for article in goods), 2)
        sums = _Sums(subtotal)
        label, rates = _TAXES[self.region]
        inclusive = self.region in ("europe", "uk") or (self.region == "malaysia" and rng.random() < 0.6)
        rate = float(pick(rng, rates))
        taxed = self.chance(0.6)
        discount = round(subtotal * float(pick(rng, [0.05, 0.1, 0.2])), 2) if self.chance(0.13) else 0.0
        service = round(subtotal * 0.1, 2) if self.chance(0.09) else 0.0
        added = round((subtotal - discount + service) * rate, 2) if taxed and not inclusive else 0.0
        raw = round(subtotal - discount + service + added, 2)
        rounding = 0.0
        if self.region == "malaysia" and self.chance(0.35):
            rounding = round(round(raw * 20) / 20 - raw, 2)
        sums = _Sums(subtotal, discount, service, added, rounding)
        within = round(sums.total - sums.total / (1 + rate), 2)
        tax = added or within
        lines: list[Line] = []

        def put(label: str, value: float, *roles: str, strong: bool = False) -> None:
            shown = self._amount(value)
            label = self.say(label) + (self.colon.strip() if self.rng.random() < 0.6 else "")
            if self.shifted:
                lines.append(Line(((self.shifted, "r", label), (1.0, "r", shown)), roles, strong))
            else:
                lines.append(pair(label, shown, *roles, strong=strong))

        self.shifted = float(rng.uniform(0.6, 0.75)) if rng.random() < 0.3 else 0.0
        if self.chance(0.3):
            count = sum(article.quantity for article in goods)
            name = self.say(
                self.pick(["Total Qty", "Total Quantity", "Qty", "Items", "No. of items", "Item count", "Total Items"])
            )
            lines.append(self.pick([pair(name, str(count)), left(f"{name}{self.colon} {count}")]))
        ask_subtotal = bool(added or discount or service or rounding or self.chance(0.35))
        if ask_subtotal:
            if inclusive and taxed and not discount and not service and rng.random() < 0.5:
                put(
                    self.pick(
                        ["Total (Excluding GST)", "Total Sales (Excluding GST)", "Amount excl. tax", "Taxable Amount"]
                    )
                    if self.region == "malaysia"
                    else self.pick(["Net", "Net amount", "Amount excl. VAT"]),
                    raw - round(raw - raw / (1 + rate), 2),
                )
            else:
                self.facts["subtotal"] = number(subtotal)
                put(self.pick(["SUBTOTAL", "Subtotal", "Sub Total", "SUB-TOTAL", "Sub-Total"]), subtotal, "subtotal")
        if discount:
            self.facts["discount"] = number(discount)
            put(self.pick(["Discount", "DISC", "Less Discount", "Savings"]), discount * pick(rng, [1, -1]), "discount")
        elif self.chance(0.1):
            self.facts["discount"] = number(0)
            put("Discount", 0.0, "discount")
        if service:
            put(self.pick(["Service Charge", "Service Charge 10%", "SVC CHG 10%"]), service)
        if taxed:
            self.facts["tax"] = number(tax)
            put(self.pick(label), tax, "tax")
        before = (
            False  # whether a sum before rounding is printed, so that the total must say that it is the rounded one
        )
        if rounding or (self.region == "malaysia" and self.chance(0.2)):
            before = bool(rounding and rng.random() < 0.4)
            if before:
                put(self.pick(_INCLUSIVE if inclusive else ["Total", "Total Amount", "Total Due"]), raw)
            put(self.pick(["Rounding", "Rounding Adj", "Rounding Adjustment", "ROUNDING ADJ.", "Round Adj"]), rounding)
        total = self.pick(_TOTAL)
        if before or (rounding and rng.random() < 0.5):
            total = self.pick(_ROUNDED)
        elif self.region == "malaysia" and taxed and rng.random() < 0.45:
            total = self.pick(_INCLUSIVE)
        self.facts["total"] = number(sums.total)
        put(total, sums.total, "total", strong=rng.random() < 0.5)
        if self.chance(0.8):
            self._paid(sums.total, put, lines)
        self.lines += lines
        if self.marks or (
            self.region == "malaysia" and any("RM" in text for line in self.lines for _, _, text in line.pieces)
        ):
            self.facts["currency"] = self.money.name
        if taxed and self.region == "malaysia" and self.chance(0.5):
            self._summary(sums.total - tax, tax)
        elif taxed and self.region == "europe" and self.chance(0.4):
            self.lines.append(
                Line(((0.0, "l", "MwSt %"), (0.45, "r", "Netto"), (0.72, "r", "MwSt"), (1.0, "r", "Brutto")))
            )
            cells = (number(sums.total - tax), number(tax), number(sums.total))
            self.lines.append(
                Line(
                    (
                        (0.0, "l", f"A {rate * 100:.0f}%"),
                        (0.45, "r", cells[0]),
                        (0.72, "r", cells[1]),
                        (1.0, "r", cells[2]),
                    )
                )
            )

    def _paid(self, total: float, put, lines: list[Line]) -> None:
        rng = self.rng
        if rng.random() < 0.3:
            put(self.pick(_CARDS), total)
            if rng.random() < 0.4:
                lines.append(left(f"{self.pick(['Card No', 'ACCT', 'Card'])}: {'*' * 8}{digits(rng, 4)}"))
                lines.append(left(f"{self.pick(['Auth Code', 'APPROVAL', 'Approval Code'])}: {digits(rng, 6)}"))
            return
        step = float(pick(rng, [1, 5, 10, 50, 100]))
        given_cash = total if rng.random() < 0.25 else max(total, float(np.ceil(total / step) * step))
        self.facts["cash"] = self.money.number(given_cash)
        put(self.pick(_CASH), given_cash, "cash")
        if rng.random() < 0.85:
            self.facts["change"] = self.money.number(round(given_cash - total, 2))
            put(self.pick(_CHANGE), round(given_cash - total, 2), "change")

    def _summary(self, net: float, tax: float) -> None:
        number = self.money.number
        self._rule()
        heads = self.pick(
            [
                ("GST Summary", "Amount(RM)", "Tax(RM)"),
                ("Tax Code", "Amt (RM)", "Tax (RM)"),
                ("GST SUMMARY", "AMOUNT", "TAX/AMT"),
            ]
        )
        self.lines.append(Line(((0.0, "l", heads[0]), (0.68, "r", heads[1]), (1.0, "r", heads[2]))))
        code = self.pick(["SR (@ 6%)", "SR 6%", "SR = 6%", "s = 6%", "SR"])
        self.lines.append(Line(((0.0, "l", code), (0.68, "r", number(net)), (1.0, "r", number(tax)))))
        if self.rng.random() < 0.4:
            self.lines.append(Line(((0.0, "l", "ZRL (@ 0%)"), (0.68, "r", number(0)), (1.0, "r", number(0)))))
        if self.rng.random() < 0.3:
            self.lines.append(Line(((0.0, "l", "Total :"), (0.68, "r", number(net)), (1.0, "r", number(tax)))))

    def _foot(self) -> None:
        rng = self.rng
        self._rule()
        if self.chance(0.08):
            self.lines.append(Line(rule="barcode"))
        count = int(rng.integers(1, 5)) if self.long else int(rng.integers(0, 3))
        for text in rng.choice(_THANKS, count, replace=False):
            self.lines.append(centred(self.say(str(text))))
