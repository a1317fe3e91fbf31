"""Receipt questions: what can be asked of a till receipt, the answers copied from what OCR read."""

from __future__ import annotations

import numpy as np

from vlm_demo.synthetic.asking import Made, Makers
from vlm_demo.synthetic.world import UNKNOWN, Picture


def makers(picture: Picture, rng: np.random.Generator, read: list[str] | None) -> Makers:
    """What can be asked of a receipt; a value that OCR misread is not asked for, so it is never learnt wrong."""
    facts = picture.facts

    def asked(kind: str, value: str, invent: str, **fields: str) -> Made | None:
        if read is None:
            return Made(kind, fields, UNKNOWN, invent)
        return Made(kind, fields, value, copied=value) if any(value in line for line in read) else None

    def total():
        return asked("total", str(facts["total"]), str(rng.choice(["10.00", "12.50", "25.00", "9.90"])))

    def date():
        return asked("date", str(facts["date"]), str(rng.choice(["12/03/2018", "01/01/2020"])))

    def shop():
        return asked("shop", str(facts["shop"]), str(rng.choice(["City Mart", "Fresh Market", "Golden Store"])))

    def price():
        items: list[tuple[str, str]] = facts["items"]
        name, cost = items[int(rng.integers(len(items)))]
        return asked("price", cost, "4.50", item=name.lower())

    def extra():
        names = {
            "change": "change",
            "tax": "tax",
            "phone": "phone number",
            "time": "time",
            "number": "receipt number",
            "cash": "cash",
        }
        key = str(rng.choice(list(names)))
        guess = {"phone": "012-3456789", "time": "12:30", "number": "1001"}.get(key, "1.00")
        if key in facts and read is not None:
            return asked("field", str(facts[key]), guess, field=names[key])
        return Made("field", {"field": names[key]}, UNKNOWN, guess)

    def exist():
        shape = str(rng.choice(["circle", "triangle", "star", "heart", "red circle", "blue square"]))
        return Made("exist", {"obj": shape, "plural": shape + "s"}, "no")

    def describe():
        shop = str(facts["shop"])
        known = any(shop in line for line in read or [])
        return Made("describe", {}, f"a receipt from {shop}" if known else "a receipt", copied=shop if known else "")

    return [
        (3.0, total), (2.2, date), (2.5, shop), (1.0, price), (1.2, extra), (0.15, exist), (0.2, describe),
        (0.3, lambda: Made("medium", {}, "receipt")),
    ]  # fmt: skip
