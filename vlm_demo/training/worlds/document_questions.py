"""Document questions: what can be asked of each sort of document."""

from __future__ import annotations

import numpy as np

from vlm_demo.training.worlds.asking import Made, Maker, Makers
from vlm_demo.training.worlds.document_asking import ABSENT, NO_THINGS, DocumentAsker
from vlm_demo.training.worlds.document_values import pick
from vlm_demo.training.worlds.forms import FIELDS, TICKS
from vlm_demo.training.worlds.receipt_questions import ReceiptAsker
from vlm_demo.training.worlds.world import UNKNOWN, Picture


def makers(picture: Picture, rng: np.random.Generator, read: list[str] | None) -> Makers:
    """What can be asked of the document; a value that OCR misread is not asked for, so it is never learnt wrong."""
    return ASKERS[picture.facts["type"]](picture, rng, read).makers()


NO_NOUNS = ("Born", "Signed on")  # labels that make no "What is the ...?"


class InvoiceAsker(DocumentAsker):
    """Makes questions about one invoice."""

    present = (
        *["total"] * 6,
        *["date"] * 4,
        *["seller"] * 4,
        *["number"] * 5,
        *["buyer"] * 3,
        *["due date"] * 5,
        "phone",
        "tax",
        "tax",
        "subtotal",
        "iban",
        "order number",
    )
    absent = (*["due date", "buyer", "phone", "tax"] * 3, "cash", "change", "time", "iban", "order number", "discount")

    def makers(self) -> list[tuple[float, Maker]]:
        """Every kind with its weight."""
        return [
            *super().makers(),
            (5.0, self.field),
            (0.7, lambda: self.goods("price")),
            (0.4, lambda: self.goods("quantity")),
            (0.3, self.currency),
        ]

    def told(self) -> tuple[str, str]:
        return ("to", "buyer") if self.value("buyer") and self.rng.random() < 0.3 else ("from", "seller")


class LetterAsker(DocumentAsker):
    """Makes questions about one letter."""

    present = (
        *["sender"] * 4, *["recipient"] * 4, *["date"] * 4, *["subject"] * 5, *["signer"] * 2, "salutation", "closing",
        "phone", "number",
    )  # fmt: skip
    absent = (*["subject", "phone"] * 3, "cash", "change", "tax", "due date", "time", "iban")

    def makers(self) -> list[tuple[float, Maker]]:
        """Every kind with its weight."""
        return [*super().makers(), (4.5, self.field)]

    def told(self) -> tuple[str, str]:
        return self.pick([("to", "recipient"), ("from", "sender")])


class TableAsker(DocumentAsker):
    """Makes questions about one table."""

    present = ("title",)
    absent = ("due date", "shop", "change", "cash", "sender", "tax")

    def makers(self) -> list[tuple[float, Maker]]:
        """Every kind with its weight."""
        return [
            *super().makers(),
            (0.25, self.field),
            (0.3, self.heading),
            (4.0, self.cell),
            (1.0, self.row),
            (0.6, self.headers),
        ]

    def field(self) -> Made | None:
        """A field that no table has."""
        return self.asked(self.pick(self.absent))

    def told(self) -> tuple[str, str]:
        return "titled", "title"

    def heading(self) -> Made | None:
        """What is the title?"""
        return titled(self)

    def _place(self) -> tuple[int, int]:
        rows, headers = self.facts["rows"], self.facts["headers"]
        return int(self.rng.integers(len(rows))), int(self.rng.integers(1, len(headers)))

    def _read(self, row: int, column: int) -> bool:
        """Whether OCR read the cell in its row, and what the column is called."""
        name, value, header = self.facts["rows"][row][0], self.facts["rows"][row][column], self.facts["headers"][column]
        line = any(name in line and value in line for line in self.read or [])
        return line and self.standing(value, f"row {row}") and self.standing(header)

    def cell(self) -> Made | None:
        """What is the price of tea?"""
        rows, headers = self.facts["rows"], self.facts["headers"]
        i, k = self._place()
        name, header, value = rows[i][0], headers[k], rows[i][k]
        column = header.lower() if self.rng.random() < 0.5 else header
        guess = rows[int(self.rng.integers(len(rows)))][k]
        if self.read is not None and self.rng.random() < ABSENT:
            other = self.pick(["Zinc", "Umbrella", "Peter Pan", "Iceland", "Chess", "Mars"])
            if self.rng.random() < 0.5:
                other, column = name, self.pick(["volume", "shoe size", "tax", "deadline", "temperature", "brand"])
            return Made("table cell", {"row": other, "column": column}, UNKNOWN, guess, NO_THINGS)
        fields = {"row": name.lower() if " " not in name and self.rng.random() < 0.2 else name, "column": column}
        if self.read is None:
            return Made("table cell", fields, UNKNOWN, guess)
        if not self._read(i, k):
            return None
        return Made("table cell", fields, value, None, self.about(f"row {i}"), None, value)

    def row(self) -> Made | None:
        """Which product has the price 4.50?"""
        rows, headers = self.facts["rows"], self.facts["headers"]
        i, k = self._place()
        value = rows[i][k]
        if sum(row[k] == value for row in rows) > 1:
            return None
        fields = {"first": headers[0].lower(), "column": headers[k].lower(), "value": value}
        name = rows[i][0]
        if self.read is None:
            return Made("table row", fields, UNKNOWN, self.pick(rows)[0])
        if not self._read(i, k) or not self.standing(name, f"row {i}"):
            return None
        return Made("table row", fields, name, None, self.about(f"row {i}"), None, name)

    def headers(self) -> Made | None:
        """What are the columns called?"""
        headers = self.facts["headers"]
        answer = ", ".join(headers[:-1]) + " and " + headers[-1]
        if self.read is None:
            return Made("table headers", {}, UNKNOWN, answer)
        if not all(self.standing(header, "headers") for header in headers):
            return None
        return Made("table headers", {}, answer, None, self.about("headers"))

    def claims(self) -> list[tuple[str, str, str]]:
        """The cells of the table."""
        found = []
        for _ in range(3):
            i, k = self._place()
            row, header = self.facts["rows"][i], self.facts["headers"][k].lower()
            if self.read is None or self._read(i, k):
                found.append((f"the {header} of {row[0]} is {{}}", row[k], f"row {i}"))
        return found

    def other(self, value: str, role: str) -> str:
        """Another value of the same column."""
        columns = [list(column) for column in zip(*self.facts["rows"], strict=True) if value in column]
        others = [cell for cell in columns[0] if cell != value]
        return self.pick(others) if others else value


class FormAsker(DocumentAsker):
    """Makes questions about one form."""

    def makers(self) -> list[tuple[float, Maker]]:
        """Every kind with its weight."""
        makers = [*super().makers(), (4.5, self.field), (0.5, self.heading)]
        return [*makers, (1.2, self.ticked)] if self.facts["ticks"] else makers

    def told(self) -> tuple[str, str]:
        return "titled", "title"

    def heading(self) -> Made | None:
        """What is the title?"""
        return titled(self)

    def field(self) -> Made | None:
        """What is the date of birth?"""
        filled: dict[str, str] = self.facts["fields"]
        if not filled:
            return None
        printed = " ".join(self.facts["texts"]).casefold()
        missing = [
            n for n in FIELDS if n not in filled and not any(label.casefold() in printed for label in FIELDS[n][0])
        ]
        left_open = [n for n in FIELDS if n not in filled and n not in missing]
        absent = self.rng.random() < ABSENT and (missing or left_open)
        name = self.pick([*left_open * 4, *missing]) if absent else self.pick(list(filled))
        label = self._label(name)
        fields = {"field": label, "doc": self.called()}
        guess = str(FIELDS[name][1](self.rng))
        if absent or self.read is None:
            return Made("form field", fields, UNKNOWN, guess, NO_THINGS if absent else ())
        value = filled[name]
        if not self.standing(value, name):
            return None
        return Made("form field", fields, value, None, self.about(name), None, value)

    def _label(self, name: str) -> str:
        """What the field is called here, or what it is called in general."""
        printed = [label for label in FIELDS[name][0] if any(text.startswith(label) for text in self.facts["texts"])]
        label = max(printed, key=len) if printed and self.rng.random() < 0.6 else name
        label = name if label in NO_NOUNS else label
        label = label.replace("no.", "number")
        return label if label.isupper() or label.startswith(("ZIP", "ID")) else label[0].lower() + label[1:]

    def ticked(self) -> Made | None:
        """Is the box "Newsletter" ticked?"""
        ticks: dict[str, bool] = self.facts["ticks"]
        if self.rng.random() < ABSENT:
            label = self.pick([label for label in TICKS if label not in ticks])
            return Made("ticked", {"label": label}, UNKNOWN, self.pick(("yes", "no")), NO_THINGS)
        sides = [[label for label, on in ticks.items() if on is side] for side in (True, False)]
        label = self.pick(self.pick([side for side in sides if side]))
        if self.read is None:
            return Made("ticked", {"label": label}, UNKNOWN, self.pick(("yes", "no")))
        if not self.standing(label):
            return None
        return Made("ticked", {"label": label}, "yes" if ticks[label] else "no", None, self.about(f"tick {label}"))

    def claims(self) -> list[tuple[str, str, str]]:
        """The fields of the form."""
        return [(f"the {self._label(name)} is {{}}", value, name) for name, value in self.facts["fields"].items()]

    def other(self, value: str, role: str) -> str:
        """Another value of the same kind."""
        return str(FIELDS[role][1](self.rng))


def titled(asker: DocumentAsker) -> Made | None:
    """What is the title?"""
    title, fields = asker.value("title"), {"doc": asker.called()}
    if not title:
        if asker.rng.random() < 0.6:
            return None
        return Made("heading", fields, UNKNOWN, str(pick(asker.rng, ["Overview", "Price list", "Members"])), NO_THINGS)
    if asker.read is None:
        return Made("heading", fields, UNKNOWN, str(pick(asker.rng, ["Registration", "Members", "List"])))
    if not asker.standing(title, "title"):
        return None
    return Made("heading", fields, title, None, asker.about("title"), None, title)


ASKERS: dict[str, type[DocumentAsker]] = {
    "receipt": ReceiptAsker,
    "invoice": InvoiceAsker,
    "letter": LetterAsker,
    "table": TableAsker,
    "form": FormAsker,
}
