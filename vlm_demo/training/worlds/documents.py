"""Documents: receipts, invoices, letters, tables and forms from templates, drawn by seed, with every field's box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from vlm_demo.training.worlds.browser import HELD_OUT_FONT, TRAINED_FONTS, RenderedPage, page
from vlm_demo.training.worlds.scene_backgrounds import noisy
from vlm_demo.training.worlds.values import WORDS, Values
from vlm_demo.training.worlds.world import COLOURS, DrawnPicture, Thing, drawn_colour, outline_of

BOLD = {"sans": "sans-bold", "mono": "mono-bold", "times": "times-bold"}


@dataclass
class Content:
    """The contents of one document.

    Attributes:
        template: the file in `templates/`, and the document's sort.
        fields: name → value as printed.
        values: further values of the template.
        facts: further facts for the questions.
        width: the page's, as times the size of its letters.
    """

    template: str
    fields: dict[str, str]
    values: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    width: tuple[float, float] = (32, 52)


def draw_document(rng: np.random.Generator, held_out: bool = False, sort: str | None = None) -> DrawnPicture:
    """A document of any sort, or of this one; ``held_out`` prints it in the font that training never sees.

    ``facts``: ``type``; ``fields``, name → value as printed; ``where``, name → the thing that is its line; of a receipt
    and an invoice ``items`` (``name``, ``quantity``, ``price``) and ``currency``; of a table ``headers`` and ``rows``;
    of a form ``entries`` and ``ticks``; ``title`` or none; ``words`` and ``texts`` as of every picture.
    """
    sort = sort or str(rng.choice(list(SORTS), p=[0.5, 0.17, 0.11, 0.11, 0.11]))
    values = Values(rng)
    content = SORTS[sort](values)
    theme = _theme(values, content, held_out)
    labels = {name: values.pick(options) for name, options in WORDS["field_labels"].items()}
    rendered = page(f"{sort}.html", theme=theme, fields=content.fields, labels=labels, **content.values)
    things = tuple(_thing(name, box, theme, rendered) for name, box in rendered.boxes.items())
    thing_of = {name: i for i, name in enumerate(rendered.boxes)}
    facts = content.facts | {"type": sort, "fields": content.fields, "where": thing_of} | rendered.printed
    return DrawnPicture("documents", degraded(rendered.image, rng), things, facts)


def _thing(name: str, box: tuple[float, float, float, float], theme: dict[str, Any], rendered: RenderedPage) -> Thing:
    shape = name if name in ("logo", "table") else "text"
    colour = theme["logo"]["colour"] if name == "logo" else "black"
    inside = [
        word.text
        for line in rendered.lines
        for word in line
        if box[0] <= (word.box[0] + word.box[2]) / 2 <= box[2] and box[1] <= (word.box[1] + word.box[3]) / 2 <= box[3]
    ]
    return Thing(shape, colour, outline_of(box), text=" ".join(inside) if shape == "text" else "")


def _theme(values: Values, content: Content, held_out: bool) -> dict[str, Any]:
    """Fonts, sizes and tones of one page."""
    rng = values.rng
    font = HELD_OUT_FONT if held_out else values.pick(TRAINED_FONTS[:6])
    size, dark = int(rng.integers(14, 22)), int(rng.integers(0, 70))
    tint = [int(v) for v in np.clip(255 - rng.integers(0, 14) - rng.integers(0, 12, 3), 0, 255)]
    colour = values.pick([name for name in COLOURS if name not in ("white", "black", "gray")])
    return {
        "font": font, "bold": BOLD.get(font, font), "size": size, "leading": float(rng.uniform(1.15, 1.6)),
        "width": round(size * rng.uniform(*content.width)), "margin": int(size * rng.uniform(0.8, 3)),
        "background": "rgb({},{},{})".format(*(tint if values.chance(0.5) else (255, 255, 255))),
        "ink": f"rgb({dark},{dark},{dark})", "big": float(rng.uniform(1, 1.6)),
        "gap": int(size * rng.uniform(0.4, 1.3)),
        "line": int(rng.integers(1, 3)), "rule": values.pick(("solid", "dashed", "dotted")),
        "turn": float(rng.normal(0, 0.3)) if values.chance(0.4) else 0.0, "pad": int(rng.integers(2, 8)),
        "stripe": "rgb({0},{0},{0})".format(int(rng.integers(215, 240))),
        "logo": {"shown": values.chance(0.3), "side": int(size * rng.uniform(2, 5)), "colour": colour,
                 "rgb": "rgb({},{},{})".format(*drawn_colour(colour, rng)), "round": values.pick(("0", "50%", "20%"))},
    }  # fmt: skip


def degraded(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The page as from a scanner or a camera; nothing changes its place."""
    if rng.random() < 0.22:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.8))))
    if rng.random() < 0.25:  # lit from one side
        light = np.linspace(rng.uniform(0.75, 1), rng.uniform(0.75, 1), image.width, dtype=np.float32)
        image = Image.fromarray((np.asarray(image) * light[None, :, None]).astype(np.uint8))
    return noisy(image, rng, rng.uniform(1, 9)) if rng.random() < 0.3 else image


def _goods(values: Values, names: list[str], high: float) -> tuple[list[dict[str, Any]], int]:
    """Items with their prices, and the sum in cents."""
    items, total = [], 0
    for name in names:
        unit, n = values.cents(0.5, high), int(values.rng.choice([1, 2, 3, 5, 10], p=[0.6, 0.2, 0.1, 0.06, 0.04]))
        total += unit * n
        price = values.money.plain(unit * n)
        items.append({"name": name, "quantity": str(n), "unit": values.money.plain(unit), "price": price})
    return items, total


def _receipt(values: Values) -> Content:
    items, total = _goods(values, values.goods(int(values.rng.integers(1, 13))), 40)
    fields = {"shop": values.company(), "date": values.dated(values.day())}
    optional: dict[str, Callable[[], str]] = {
        "number": values.code, "time": values.clock, "cashier": lambda: str(values.faker.first_name()),
        "phone": values.phone,
    }  # fmt: skip
    fields |= {name: make() for name, make in optional.items() if values.chance(0.55)}
    head = [name for name in ("number", "date", "time", "cashier") if name in fields]
    money, sums = values.money, []
    if values.chance(0.5):
        tax = round(total * values.pick((0.05, 0.06, 0.07, 0.19)))
        fields |= {"subtotal": money.plain(total), "tax": money.plain(tax)}
        sums, total = ["subtotal", "tax"], total + tax
    fields["total"] = money.signed(total) if values.chance(0.6) else money.plain(total)
    sums.append("total")
    if values.chance(0.5):
        cash = -(-total // 500) * 500 if values.chance(0.7) else total
        fields |= {"cash": money.plain(cash), "change": money.plain(cash - total)}
        sums += ["cash", "change"]
    address = values.address()
    split = values.chance(0.3)
    extra = {"items": items, "head": values.several(head, len(head)), "sums": sums, "address": address, "split": split}
    extra |= {"middle": values.chance(0.6), "counted": values.chance(0.6), "thanks": values.word("thanks")}
    facts = {"items": items, "counted": split or extra["counted"], "currency": _currency(fields, money)}
    return Content("receipt", fields | {"address": address[0]}, extra, facts, (20, 30))


def _currency(fields: dict[str, str], money: Any) -> str | None:
    return str(money.name) if money.sign in fields["total"] else None


def _invoice(values: Values) -> Content:
    items, total = _goods(values, values.several(WORDS["services"], int(values.rng.integers(1, 7))), 900)
    day, money = values.day(), values.money
    fields = {"seller": values.company(), "buyer": values.person() if values.chance(0.5) else values.company()}
    fields |= {"number": values.code(), "date": values.dated(day)}
    if values.chance(0.6):
        fields["due date"] = values.dated(day + timedelta(days=int(values.pick((14, 21, 30)))))
    if values.chance(0.35):
        fields["order number"] = values.code("#####")
    head = [name for name in ("number", "date", "due date", "order number") if name in fields]
    if values.chance(0.4):
        fields["phone"] = values.phone()
    sums = []
    if values.chance(0.7):
        tax = round(total * values.pick((0.05, 0.1, 0.19, 0.2)))
        fields |= {"subtotal": money.plain(total), "tax": money.plain(tax)}
        sums, total = ["subtotal", "tax"], total + tax
    fields["total"] = money.signed(total)
    if values.chance(0.5):
        fields["iban"] = str(values.faker.iban())
    address = values.address()
    extra = {"items": items, "head": head, "sums": [*sums, "total"], "address": address, "title": "INVOICE"}
    extra |= {"other_address": values.address(), "style": values.pick(("grid", "lines", "striped", ""))}
    counted = values.pick(("Qty", "Quantity", "Hours"))
    extra["headers"] = (values.pick(("Description", "Service", "Item")), counted, "Amount")
    facts = {"items": items, "counted": True, "currency": _currency(fields, money), "title": "INVOICE"}
    return Content("invoice", fields | {"address": address[0]}, extra, facts)


def _letter(values: Values) -> Content:
    signer = values.person()
    sender, recipient = values.company() if values.chance(0.5) else signer, values.person()
    fields = {"sender": sender, "recipient": recipient, "date": values.dated(values.day())}
    fields |= {"subject": values.word("subjects"), "signer": signer}
    head = ["date"]
    if values.chance(0.4):
        fields["reference"], head = values.code(), ["reference", "date"]
    chosen = values.several(WORDS["sentences"], int(values.rng.integers(2, 6)))
    sentences = [text[0].upper() + text[1:] + "." for text in chosen]
    split_at = int(values.rng.integers(1, len(sentences)))
    address = values.address()
    extra = {"head": head, "address": address, "other_address": values.address(), "greeting": values.word("greetings")}
    body = [" ".join(sentences[:split_at]), " ".join(sentences[split_at:])]
    extra |= {"body": body, "closing": values.word("closings")}
    return Content("letter", fields | {"address": address[0]}, extra)


def _table(values: Values) -> Content:
    first, name, columns, titles = values.pick(WORDS["tables"])
    chosen = values.several(list(columns), int(values.rng.integers(1, 5)))
    names: list[str] = []
    for _ in range(40):
        entry = values.fill(name)
        if len(names) < 3 + values.rng.integers(6) and not any(entry in other or other in entry for other in names):
            names.append(entry)
    rows = [[entry, *(values.fill(columns[column]) for column in chosen)] for entry in names]
    title = values.pick(titles) if values.chance(0.6) else ""
    extra = {"headers": [first, *chosen], "rows": rows, "title": title, "middle": values.chance(0.5)}
    extra |= {"style": values.pick(("grid", "lines", "striped", "")), "wide": values.chance(0.5)}
    extra["numeric"] = values.chance(0.5)
    return Content("table", {}, extra, {"headers": [first, *chosen], "rows": rows, "title": title}, (34, 54))


def _form(values: Values) -> Content:
    chosen = values.several(list(WORDS["entries"]), int(values.rng.integers(3, 9)))
    entries = [(name, "" if values.chance(0.1) else values.fill(WORDS["entries"][name])) for name in chosen]
    ticks = [(text, values.chance(0.5)) for text in values.several(WORDS["ticks"], int(values.rng.integers(0, 5)))]
    title = values.word("forms")
    extra = {"entries": entries, "ticks": ticks, "title": title, "middle": values.chance(0.5)}
    extra |= {"boxed": values.chance(0.5), "above": values.chance(0.3), "colon": values.pick((":", ""))}
    return Content("form", {}, extra, {"entries": entries, "ticks": ticks, "title": title})


SORTS: dict[str, Callable[[Values], Content]] = {
    "receipt": _receipt, "invoice": _invoice, "letter": _letter, "table": _table, "form": _form,
}  # fmt: skip
