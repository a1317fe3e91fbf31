"""Document questions: what can be asked of a printed page; printed values are copied from the OCR lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlm_demo.training.worlds.asker import Description, form
from vlm_demo.training.worlds.common_questions import CommonAsker
from vlm_demo.training.worlds.executor import Program, Table
from vlm_demo.training.worlds.question import Question, QuestionForm
from vlm_demo.training.worlds.values import WORDS, Values
from vlm_demo.training.worlds.world import UNKNOWN, article, number_word, series_of

# Of each field the kind of question, its names where the kind is general, and the sorts of documents that may have it.
FIELDS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "total": ("total", (), ("receipt", "invoice")), "date": ("date", (), ("receipt", "invoice", "letter")),
    "shop": ("shop", (), ("receipt",)), "seller": ("seller", (), ("invoice",)), "buyer": ("buyer", (), ("invoice",)),
    "due date": ("due date", (), ("invoice",)), "sender": ("sender", (), ("letter",)),
    "recipient": ("recipient", (), ("letter",)), "signer": ("signer", (), ("letter",)),
    "subject": ("subject", (), ("letter",)), "address": ("document address", (), ("receipt", "invoice", "letter")),
    "phone": ("document phone", (), ("receipt", "invoice")),
    "number": ("document number", ("number", "document number"), ("receipt", "invoice")),
    "time": ("document time", (), ("receipt",)), "cash": ("cash", (), ("receipt",)),
    "change": ("change", (), ("receipt",)), "tax": ("tax", (), ("receipt", "invoice")),
    "subtotal": ("field", ("subtotal", "amount before tax"), ("receipt", "invoice")),
    "cashier": ("field", ("cashier",), ("receipt",)), "iban": ("field", ("IBAN", "bank account"), ("invoice",)),
    "order number": ("field", ("order number",), ("invoice",)),
    "reference": ("document number", ("reference number", "reference"), ("letter",)),
}  # fmt: skip
DOCUMENT_NOUNS = {name: (name, name, "bill", "document") for name in ("receipt", "invoice")}
MONEY = ("total", "price", "cash", "change", "tax")  # kinds that are answered with an amount
GUESSES = {"phone": "phone", "time": "clock", "shop": "company", "seller": "company", "address": "street"}
GUESSES |= dict.fromkeys(("number", "iban", "order number", "reference"), "######")
ORDINALS = ("first", "second", "third")


class DocumentAsker(CommonAsker):
    """Makes questions about one document: of its fields, its items, its cells and its entries as rows of tables."""

    general = ("thing",)
    vocabulary = {"shape": ("logo", "table")}

    def forms(self) -> list[QuestionForm]:
        """Every way to ask that the sort of document may allow."""
        sort, facts = self.facts["type"], self.facts
        found = [
            self.fact(0.5, "document sort", sort), self.fact(0.12, "medium", sort), form(0.35, self.exist),
            form(0.35, self.describe), form(0.6, self.balanced(self.mention), "mention"), form(0.35, self.line),
            form(0.8, self.statement([self.mention, self.exist]), "statement"),
        ]  # fmt: skip
        if facts.get("fields"):
            found.append(form(5.0, self.followed(self.field, "follow field", "field"), "field"))
        if "items" in facts:
            found += [form(1.6, self.price), form(0.8, self.item_count)]
            found += [form(0.8, self.quantity_of)] * bool(facts["counted"])
        if facts.get("currency"):
            found.append(form(0.3, self.currency))
        if facts.get("title"):
            found.append(form(0.5, self.heading))
        if sort == "table":
            found += [form(3.0, self.cell), form(1.2, self.table_row), form(0.6, self.headers)]
        if sort == "form":
            found.append(form(3.0, self.entry))
            found += [form(1.5, self.balanced(self.ticked), "ticked")] * bool(facts["ticks"])
        return found

    def legible(self, text: str) -> bool:
        """Whether OCR read the text as a whole: "12.50" is not found in "112.50"."""
        before = r"(?<!\d)(?<!\d[.,])" if text[:1].isdigit() else r"(?<!\w)"
        after = r"(?!\d|[.,]\d)" if text[-1:].isdigit() else r"(?!\w)"
        return any(re.search(before + re.escape(text) + after, line) for line in self.ocr_lines or [])

    def document_noun(self) -> str:
        """A word for the document."""
        return str(self.pick(DOCUMENT_NOUNS.get(self.facts["type"], (self.facts["type"],))))

    def at(self, *names: str) -> tuple[int, ...]:
        """The things of these names."""
        indices = self.facts["where"]
        return tuple(indices[name] for name in names if name in indices)

    def look_up(
        self, kind: str, fields: dict[str, str], rows: Sequence[dict[str, str]], program: Program,
        guesses: Sequence[str], *names: str, needs: Sequence[str] = (),
    ) -> Question | None:  # fmt: skip
        """A question that a table of printed values answers."""
        fields = {"doc": self.document_noun(), **fields}
        table, about = Table(rows), self.at(*names)
        return self.build(kind, fields, program, guesses, table=table, needs=needs, copied=True, about=about)

    # Fields.

    def field(self) -> Question | None:
        """What is the date? How much is the total?"""
        sort, values = self.facts["type"], self.facts["fields"]
        possible = [name for name, (_, _, sorts) in FIELDS.items() if sort in sorts]
        names = [name for name in possible if name in values]
        missing = [name for name in possible if name not in values and name not in ("subtotal", "tax", "number")]
        name = self.pick(missing) if missing and self.chance(0.17) else self.pick(names)
        kind, nouns, _ = FIELDS[name]
        noun = self.pick(nouns or (name,))
        if noun == "number":
            noun = f"{sort} number"
        rows = [{"field": field, "value": value} for field, value in values.items()]
        program = (("filter", {"field": name}), ("query", "value"))
        return self.look_up(kind, {"field": noun}, rows, program, [self.guess(name)], name, f"{name} 0")

    def guess(self, name: str) -> str:
        """A plausible value of a field."""
        sort = "amount" if name in (*MONEY, "subtotal") else "date" if "date" in name else GUESSES.get(name, "person")
        return Values(self.rng).fill(f"{{{sort}}}")

    def currency(self) -> Question | None:
        """What currency is it in?"""
        about = self.at("total")
        if self.ocr_lines is None:
            return Question("currency", {"doc": self.document_noun()}, UNKNOWN, "dollars")
        readable = self.legible(self.facts["fields"]["total"])
        if not readable:
            return None
        return Question("currency", {"doc": self.document_noun()}, self.facts["currency"], None, about)

    def heading(self) -> Question | None:
        """What title does the document have?"""
        rows = [{"value": self.facts["title"]}]
        return self.look_up("heading", {}, rows, (("query", "value"),), ["Price list"], "heading")

    # Items.

    def price(self) -> Question | None:
        """What is the price of Tea?"""
        return self._of_item("price", "price")

    def quantity_of(self) -> Question | None:
        """How many Tea were bought?"""
        return self._of_item("quantity", "quantity")

    def _of_item(self, kind: str, attribute: str) -> Question | None:
        items = self.facts["items"]
        name = self.pick(items)["name"]
        if self.chance(0.12):
            name = self.pick([other for other in WORDS["goods"] if all(other not in item["name"] for item in items)])
        things = [f"item {i}" for i, item in enumerate(items) if item["name"] == name]
        program = (("filter", {"name": name}), ("query", attribute))
        guesses = [item[attribute] for item in items]
        return self.look_up(kind, {"item": name}, items, program, guesses, *things, needs=[name] if things else [])

    def item_count(self) -> Question | None:
        """How many items are on the receipt?"""
        items = self.facts["items"]
        return Question("items", {"doc": self.document_noun()}, number_word(len(items)), None, self.at("table"))

    # Cells and entries.

    def cell(self) -> Question | None:
        """What is the price of Tea, in a table?"""
        headers, rows = self.facts["headers"], self._cells()
        column, row = self.pick(headers[1:]), self.pick(rows)[headers[0]]
        if self.chance(0.12):
            column = self.pick([c for c in ("Price", "Age", "Capital", "Hours", "Colour") if c not in headers])
        things = [f"row {i}" for i, cells in enumerate(self.facts["rows"]) if cells[0] == row]
        fields = {"column": column.lower(), "row": row}
        program = (("filter", {headers[0]: row}), ("query", column))
        if column not in headers:
            return Question("table cell", fields, UNKNOWN, self.pick([cells[-1] for cells in self.facts["rows"]]))
        guesses = [cells[column] for cells in rows]
        return self.look_up("table cell", fields, rows, program, guesses, *things, needs=[row, column])

    def table_row(self) -> Question | None:
        """Which product has the price 2.50?"""
        headers, rows = self.facts["headers"], self._cells()
        column = self.pick(headers[1:])
        value = self.pick(rows)[column]
        things = [f"row {i}" for i, cells in enumerate(rows) if cells[column] == value]
        fields = {"first": headers[0].lower(), "column": column.lower(), "value": value}
        program = (("filter", {column: value}), ("unique",), ("query", headers[0]))
        guesses = [cells[headers[0]] for cells in rows]
        return self.look_up("table row", fields, rows, program, guesses, *things, needs=[value, column])

    def _cells(self) -> list[dict[str, str]]:
        return [dict(zip(self.facts["headers"], row, strict=True)) for row in self.facts["rows"]]

    def headers(self) -> Question | None:
        """What columns are there?"""
        names = self.facts["headers"]
        if self.ocr_lines is None or not all(self.legible(name) for name in names):
            return None
        return Question("table headers", {}, series_of(names), None, self.at("header 0"))

    def entry(self) -> Question | None:
        """What name is given, in a form?"""
        entries = [{"label": label, "value": value} for label, value in self.facts["entries"] if value]
        labels = dict(self.facts["entries"])
        label = self.pick(list(labels))
        if self.chance(0.15):
            label = self.pick([other for other in WORDS["entries"] if all(other not in there for there in labels)])
        things = [f"entry {i}" for i, there in enumerate(labels) if there == label]
        program = (("filter", {"label": label}), ("query", "value"))
        fields, needs = {"field": label[0].lower() + label[1:]}, [label] if labels.get(label) else []
        guess = Values(self.rng).fill(WORDS["entries"][label])
        return self.look_up("form field", fields, entries, program, [guess], *things, needs=needs)

    def ticked(self) -> Question | None:
        """Is the box "Newsletter" ticked?"""
        ticks = [{"label": label, "on": on} for label, on in self.facts["ticks"]]
        label = self.pick(ticks)["label"]
        if self.chance(0.12):
            label = self.pick([other for other in WORDS["ticks"] if other not in dict(self.facts["ticks"])])
        about = self.at(*(f"tick {i}" for i, row in enumerate(ticks) if row["label"] == label))
        program = (("filter", {"label": label}), ("query", "on"))
        needs = [label] if about else []
        return self.build("ticked", {"label": label}, program, table=Table(ticks), needs=needs, about=about)

    # The whole page.

    def exist(self) -> Question | None:
        """Is there a logo? A table? A receipt's goods are no table with lines, so it is not asked about one."""
        shape = "logo" if self.facts["type"] == "receipt" else self.pick(("logo", "table"))
        target: Description = {"shape": shape}
        return self.build("exist", self.names(target), (("filter", target), ("exist",)))

    def describe(self) -> Question | None:
        """Describe the picture: the sort of document, and what it is from or about where OCR can read it."""
        fields, sort = self.facts.get("fields", {}), self.facts["type"]
        name = {"receipt": "shop", "invoice": "seller", "letter": "sender"}.get(sort)
        text = fields[name] if name else self.facts.get("title")
        if not text or self.ocr_lines is None:
            return Question("describe", {}, article(sort))
        words = "from" if name else "with the title"
        copied = self.legible(text)
        return Question("describe", {}, f"{article(sort)} {words} {text}", None, (), True) if copied else None

    def mention(self) -> Question | None:
        """Does it mention Tea?"""
        if self.ocr_lines is None:
            return None
        printed = " ".join(self.facts["texts"])
        words = sorted({word for word in printed.split() if word.isalpha() and len(word) > 3})
        absent = [word for word in (*WORDS["mentions"], *WORDS["goods"]) if word.lower() not in printed.lower()]
        present = bool(words) and self.chance(0.5)
        word = self.pick(words if present else absent)
        if present and not self.legible(word):
            return None
        return Question("mention", {"doc": self.document_noun(), "word": word}, "yes" if present else "no")

    def line(self) -> Question | None:
        """What does the first line say?"""
        lines = self.facts["texts"]
        i = self.pick([i for i in (0, 1, 2, -1) if i < len(lines)])
        ordinal = "last" if i < 0 else ORDINALS[i]
        rows = [{"place": ordinal, "text": lines[i]}]
        return self.look_up("printed line", {"place": ordinal}, rows, (("query", "text"),), ["Thank you!"])
