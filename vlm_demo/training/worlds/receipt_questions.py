"""Receipt questions: what can be asked of a till receipt, the answers copied from what OCR read."""

from __future__ import annotations

import numpy as np

from vlm_demo.training.worlds.asking import Made, Maker, Makers
from vlm_demo.training.worlds.document_asking import DocumentAsker
from vlm_demo.training.worlds.world import UNKNOWN, Picture, number_word

MOST_COUNTED = 6


def makers(picture: Picture, rng: np.random.Generator, read: list[str] | None) -> Makers:
    """What can be asked of a receipt; a value that OCR misread is not asked for, so it is never learnt wrong."""
    return ReceiptAsker(picture, rng, read).makers()


class ReceiptAsker(DocumentAsker):
    """Makes questions about one receipt."""

    present = (
        *["total"] * 12, *["date"] * 9, *["shop"] * 10, "address", *["phone"] * 3, *["number"] * 3, *["time"] * 3,
        *["cash"] * 4, *["change"] * 4, *["tax"] * 4, "subtotal", "discount", "cashier", "table number",
    )  # fmt: skip
    absent = ("phone", "number", "time", "cash", "change", "tax") * 2 + ("due date", "iban", "discount", "table number")

    def makers(self) -> list[tuple[float, Maker]]:
        """Every kind with its weight."""
        return [
            *super().makers(),
            (6.0, self.field),
            (0.9, lambda: self.goods("price")),
            (0.35, lambda: self.goods("quantity")),
            (0.2, self.items),
            (0.25, self.currency),
        ]

    def told(self) -> tuple[str, str]:
        return "from", "shop"

    def items(self) -> Made | None:
        """How many different goods are on the receipt?"""
        items = self.facts["items"]
        fields = {"doc": self.called()}
        if self.read is None:
            return Made("items", fields, UNKNOWN, number_word(int(self.rng.integers(1, MOST_COUNTED))))
        if len(items) > MOST_COUNTED or any(item["quantity"] not in ("", "1") for item in items):
            return None
        if not all(any(item["name"] in line for line in self.read) for item in items):
            return None
        looks = self.about(*(f"name {i}" if f"name {i}" in self.where else f"item {i}" for i in range(len(items))))
        return Made("items", fields, number_word(len(items)), None, looks)
