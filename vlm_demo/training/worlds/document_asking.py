"""Document asking: what the questions about all sorts of documents share: fields, statements, what is printed where."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import SequenceMatcher

import numpy as np

from vlm_demo.training.worlds.asking import Looks, Made, Maker
from vlm_demo.training.worlds.document_values import (
    REGIONS,
    address,
    amount,
    any_date,
    clock,
    company,
    digits,
    person,
    phone,
    pick,
    town,
)
from vlm_demo.training.worlds.world import UNKNOWN, Picture

AMOUNTS = ("total", "tax", "cash", "change", "subtotal", "discount")
ABSENT = 0.17  # the share of questions about what the document does not say
FOLLOWED = 0.15
NO_THINGS: Looks = ((0, ()),)

# What each field may be called.
NOUNS: dict[str, tuple[str, ...]] = {
    "total": ("total", "total", "total amount", "amount due", "grand total"),
    "date": ("date", "date"),
    "shop": ("shop", "company", "store", "seller", "name of the company"),
    "seller": ("seller", "company", "supplier", "name of the company"),
    "buyer": ("buyer", "customer", "client"),
    "due date": ("due date", "payment date"),
    "sender": ("sender",),
    "recipient": ("recipient", "addressee"),
    "signer": ("name at the end", "signature"),
    "subject": ("subject", "subject line"),
    "address": ("address", "street address"),
    "phone": ("phone number", "telephone number", "phone"),
    "number": ("number",),
    "time": ("time",),
    "cash": ("cash", "cash amount"),
    "change": ("change",),
    "tax": ("tax", "tax amount", "VAT", "GST"),
    "subtotal": ("subtotal", "amount before tax"),
    "discount": ("discount",),
    "cashier": ("cashier",),
    "table number": ("table number",),
    "iban": ("IBAN", "bank account"),
    "order number": ("order number",),
    "salutation": ("salutation", "greeting"),
    "closing": ("closing formula",),
}
# Fields asked for in their own words; all others are asked as a "field".
OWN = {
    "total": "total",
    "date": "date",
    "shop": "shop",
    "seller": "seller",
    "buyer": "buyer",
    "due date": "due date",
    "sender": "sender",
    "recipient": "recipient",
    "signer": "signer",
    "subject": "subject",
    "address": "document address",
    "phone": "document phone",
    "number": "document number",
    "time": "document time",
    "cash": "cash",
    "change": "change",
    "tax": "tax",
}
NUMBERS = {
    "receipt": ("receipt number", "receipt number", "invoice number", "bill number", "document number"),
    "invoice": ("invoice number", "invoice number", "number of the invoice", "bill number"),
    "letter": ("reference number", "reference"),
}
CALLED = {
    "receipt": ("receipt", "receipt", "receipt", "bill", "document", "slip"),
    "invoice": ("invoice", "invoice", "invoice", "bill", "document"),
    "letter": ("letter", "letter", "letter", "document", "page"),
    "table": ("table", "table", "page"),
    "form": ("form", "form", "form", "document"),
}
MARKS = {"ringgit": ("RM",), "dollars": ("$", "USD"), "pounds": ("£", "GBP"), "euros": ("€", "EUR")}
_WORDS = (
    "Milk Coffee Chicken Notebook Paint Battery Discount Refund Delivery Visa IBAN Berlin Paris Oxford Denver "
    "Insurance "
    "Consulting Hosting Meeting Invitation Telephone Member Price Salary Teacher Country Signature Passport Newsletter "
    "Shipping Warranty Tomatoes Restaurant Pharmacy Hotel Garden Software Monday January Cashier Change Service "
    "Rounding"
).split()


def article(noun: str) -> str:
    """The noun with "a" or "an"."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


class DocumentAsker:
    """Makes questions about one document; every method returns one question, or None if it does not fit."""

    present: tuple[str, ...] = ()  # fields that may be asked for, those that occur twice being asked twice as often
    absent: tuple[str, ...] = ()  # fields that may be asked for where the document has none

    def __init__(self, picture: Picture, rng: np.random.Generator, read: list[str] | None) -> None:
        self.picture, self.rng, self.read = picture, rng, read
        self.facts = picture.facts
        self.sort: str = self.facts["type"]
        self.where: dict[str, int] = self.facts["where"]
        self.logos = [i for i, thing in enumerate(picture.things) if thing.shape == "logo"]
        self.tables = [i for i, thing in enumerate(picture.things) if thing.shape == "table"]

    def makers(self) -> list[tuple[float, Maker]]:
        """Every kind that all documents share, with its weight."""
        return [
            (0.5, self.document), (0.35, self.exist), (0.35, self.describe), (0.12, self.medium), (0.6, self.mention),
            (0.8, self.statement), (0.35, self.line),
        ]  # fmt: skip

    def pick(self, options):
        """One of the options."""
        return pick(self.rng, options)

    def called(self) -> str:
        """A word for the document."""
        return self.pick(CALLED[self.sort])

    def standing(self, value: str, role: str | None = None) -> bool:
        """Whether OCR read the value as a whole, in the line where it is printed (by its role) or anywhere."""
        before = r"(?<!\d)(?<!\d[.,])" if value[:1].isdigit() else r"(?<!\w)"  # "RM12.50" holds 12.50, "112.50" doesn't
        after = r"(?!\d|[.,]\d)" if value[-1:].isdigit() else r"(?!\w)"
        whole = re.compile(before + re.escape(value) + after)
        lines = [line for line in self.read or [] if value in line and whole.search(line)]
        if role is None or not lines or role not in self.where:
            return bool(lines)
        rest = self.picture.things[self.where[role]].text.replace(value, "", 1)
        rest = "".join(letter for letter in rest if letter.isalnum())
        if not rest:
            return True
        for line in lines:
            other = "".join(letter for letter in line.replace(value, "", 1) if letter.isalnum())
            blocks = SequenceMatcher(None, rest, other, autojunk=False).get_matching_blocks()
            if sum(block.size for block in blocks) >= 0.6 * len(rest):
                return True
        return False

    def about(self, *roles: str) -> Looks:
        """The whole answer is about the lines of these roles."""
        return ((0, tuple(dict.fromkeys(self.where[role] for role in roles if role in self.where))),)

    def value(self, key: str) -> str:
        """A field as printed, or "" if the document has none."""
        return str(self.facts.get(key, ""))

    def guess(self, key: str) -> str:
        """A plausible value of a field, invented."""
        rng = self.rng
        region = str(self.pick(REGIONS))
        made: dict[str, Callable[[], str]] = {
            "shop": lambda: company(rng, region),
            "seller": lambda: company(rng, region, True),
            "sender": lambda: company(rng, region, True),
            "buyer": lambda: person(rng),
            "recipient": lambda: person(rng),
            "signer": lambda: person(rng),
            "date": lambda: any_date(rng),
            "due date": lambda: any_date(rng),
            "phone": lambda: phone(rng, region),
            "address": lambda: address(rng, region)[0],
            "time": lambda: clock(rng),
            "number": lambda: digits(rng, 6),
            "order number": lambda: digits(rng, 5),
            "iban": lambda: f"DE{digits(rng, 12)}",
            "cashier": lambda: digits(rng, 2),
            "table number": lambda: digits(rng, 1),
            "subject": lambda: "Your order",
            "salutation": lambda: "Dear Sir or Madam,",
            "closing": lambda: "Kind regards,",
        }
        return made.get(key, lambda: amount(rng))()

    def field(self) -> Made | None:
        """What is the total? Who is it from? When is it due? Now and then one that is not there."""
        missing = [key for key in self.absent if not self.value(key)]
        if missing and self.rng.random() < ABSENT * 0.7:
            return self.asked(self.pick(missing))
        there = [key for key in self.present if self.value(key)]
        return self.asked(self.pick(there)) if there else None

    def asked(self, key: str) -> Made | None:
        """The question for one field, and sometimes a second one that follows it."""
        kind = OWN.get(key, "field")
        fields = {"doc": self.called()}
        if kind == "document number":
            fields["field"] = self.pick(NUMBERS.get(self.sort, ("number",)))
        elif kind == "field":
            fields["field"] = self.pick(NOUNS[key])
        value = self.value(key)
        if self.read is None or not value:
            return Made(kind, fields, UNKNOWN, self.guess(key), () if value else NO_THINGS)
        if not self.standing(value, key):
            return None
        follow = self.followed(key) if self.rng.random() < FOLLOWED else None
        return Made(kind, fields, value, None, self.about(key), None, value, follow)

    def followed(self, key: str) -> Made | None:
        """And the date?"""
        others = [
            other for other in dict.fromkeys(self.present) if other != key and self.standing(self.value(other), other)
        ]
        others = [other for other in others if self.value(other)]
        if not others:
            return None
        other = self.pick(others)
        noun = self.pick(NUMBERS.get(self.sort, ("number",)) if other == "number" else NOUNS[other])
        value = self.value(other)
        return Made("follow field", {"field": noun}, value, None, self.about(other), None, value)

    def document(self) -> Made:
        """What kind of document is this?"""
        return Made("document sort", {}, self.sort)

    def medium(self) -> Made:
        """What kind of picture is this?"""
        return Made("medium", {}, self.sort)

    def exist(self) -> Made | None:
        """Is there a logo? Is there a red circle?"""
        there = [(noun, tuple(found)) for noun, found in (("logo", self.logos), ("table", self.tables)) if found]
        if there and self.rng.random() < 0.6:
            noun, fitting = self.pick(there)
        elif not there and self.rng.random() < 0.6:
            return None
        else:
            figures = () if self.logos else ("circle", "triangle")  # an emblem may be or hold one
            nouns = ["star", "heart", "bar chart", "photo", *figures, *(["logo"] * 4 if not self.logos else [])]
            noun, fitting = self.pick(nouns + (["table"] * 3 if self.sort == "letter" else [])), ()
        return Made("exist", {"obj": noun, "plural": noun + "s"}, "yes" if fitting else "no", None, ((0, fitting),))

    def told(self) -> tuple[str, str]:
        """What `describe` adds to the sort of document: words and the field that follows them."""
        return "", ""

    def describe(self) -> Made:
        """A receipt from ..."""
        lead, key = self.told()
        text, value = article(self.sort), self.value(key)
        if not value or not self.standing(value, key):
            return Made("describe", {}, text)
        text = f"{text} {lead} "
        return Made("describe", {}, text + value, None, ((len(text), self.about(key)[0][1]),), None, value)

    def mention(self) -> Made | None:
        """Does it mention coffee?"""
        printed = " ".join(self.facts["texts"]).casefold()
        words = [w for w in _WORDS if w.casefold() in printed]
        others = [w for w in re.findall(r"[A-Za-z]{4,}", " ".join(self.facts["texts"])) if len(w) < 14]
        names = [pick(self.rng, _WORDS), person(self.rng).split()[1], town(self.rng, str(self.pick(REGIONS)))]
        yes = self.rng.random() < 0.5
        if yes:
            words = words if words and self.rng.random() < 0.4 else others
        else:
            words = [w for w in names if w.casefold() not in printed]
        if not words:
            return None
        word = self.pick(words)
        fields = {"word": word, "doc": self.called()}
        if self.read is None:
            return Made("mention", fields, UNKNOWN, self.pick(("yes", "no")))
        seen = any(word.casefold() in line.casefold() for line in self.read)
        if seen != yes:
            return None
        things = [i for i, t in enumerate(self.picture.things) if word.casefold() in t.text.casefold()]
        return Made("mention", fields, "yes" if yes else "no", None, ((0, tuple(things)),))

    def line(self) -> Made | None:
        """What does the first line say?"""
        place = self.pick([0, 0, 0, -1, -1, 1, 2])
        name = {0: "first", 1: "second", 2: "third", -1: "last"}[place]
        texts = self.facts["texts"]
        fields = {"place": name, "doc": self.called()}
        if self.read is None:
            return Made("printed line", fields, UNKNOWN, self.pick(texts))
        lines = [line for line in self.read if line.strip()]
        if len(lines) < 4 or len(texts) < 4 or lines[place] != texts[place] or len(texts[place]) < 3:
            return None
        things = tuple(i for i, t in enumerate(self.picture.things) if t.text and t.text in texts[place])[:2]
        return Made("printed line", fields, texts[place], None, ((0, things),), None, texts[place])

    def claims(self) -> list[tuple[str, str, str]]:
        """What may be said: a sentence with {} for the value, the value, and the role of its line."""
        sentences = {
            "total": ("the total is {}", "the total amount is {}", "{} is the total"),
            "date": ("the date is {}", "the date on the " + self.called() + " is {}", "it is dated {}"),
            "shop": ("the shop is {}", "the receipt is from {}", "the company is called {}"),
            "seller": ("the seller is {}", "the invoice is from {}"),
            "buyer": ("the buyer is {}", "the customer is {}"),
            "due date": ("the due date is {}", "it is due on {}"),
            "sender": ("the sender is {}", "the letter is from {}"),
            "recipient": ("the letter is to {}", "the recipient is {}"),
            "subject": ("the subject is {}",),
            "phone": ("the phone number is {}",),
            "number": (f"the {self.pick(NUMBERS.get(self.sort, ('number',)))} is {{}}",),
            "time": ("the time is {}",),
            "change": ("the change is {}",),
            "cash": ("the cash given is {}", "{} was paid in cash"),
            "tax": ("the tax is {}",),
            "signer": ("the letter is signed by {}",),
        }
        return [
            (self.pick(sentences[key]), self.value(key), key)
            for key in dict.fromkeys(self.present)
            if key in sentences and self.value(key)
        ]

    def statement(self) -> Made | None:
        """True or false: the total is 12.50."""
        if self.rng.random() < 0.25:
            said = self.pick([s for s in CALLED if s != self.sort]) if self.rng.random() < 0.5 else self.sort
            return self.judged(f"this is {article(said)}", said == self.sort, ())
        claims = self.claims()
        if not claims:
            return None
        sentence, value, role = self.pick(claims)
        truth = bool(self.rng.random() < 0.5)
        said = value if truth else self.other(value, role)
        if said == value and not truth:
            return None
        if self.read is None:
            return self.judged(sentence.format(said), None, ())
        if not self.standing(value, role):
            return None
        return self.judged(sentence.format(said), truth, self.about(role))

    def other(self, value: str, role: str) -> str:
        """A wrong value that looks right: another one of the document, or an invented one."""
        amounts = [
            line for text in self.facts["texts"] for line in re.findall(r"(?<![\d.,])\d+[.,]\d\d(?![\d.,])", text)
        ]
        amounts = [text for text in amounts if text.replace(",", ".") != value.replace(",", ".") and text not in value]
        if role in AMOUNTS and amounts and self.rng.random() < 0.7:
            return self.pick(amounts)
        return self.guess(role)

    def judged(self, statement: str, truth: bool | None, looks: Looks) -> Made:
        """A statement to be judged; ``truth`` None: nothing tells."""
        yes = self.rng.random() < 0.6
        kind, words = ("yes statement", ("no", "yes")) if yes else ("true statement", ("false", "true"))
        if truth is None:
            return Made(kind, {"statement": statement}, UNKNOWN, self.pick(words))
        return Made(kind, {"statement": statement}, words[truth], None, looks)

    def currency(self) -> Made | None:
        """What currency is it in?"""
        name = self.value("currency")
        fields = {"doc": self.called()}
        guess = self.pick(list(MARKS))
        if self.read is None:
            return Made("currency", fields, UNKNOWN, guess)
        text = "\n".join(self.read)
        seen = [
            word for word, marks in MARKS.items() if any(re.search(rf"{re.escape(m)}(?![A-Za-z])", text) for m in marks)
        ]
        if not name:
            return None if seen or self.rng.random() < 0.6 else Made("currency", fields, UNKNOWN, guess, NO_THINGS)
        return Made("currency", fields, name, None, self.about("total")) if seen == [name] else None

    def goods(self, wanted: str) -> Made | None:
        """How much is the tea? How many lamps were bought? Now and then of an article that is not there."""
        kind = {"price": "price", "quantity": "quantity"}[wanted]
        guess = amount(self.rng) if wanted == "price" else digits(self.rng, 1)
        items: list[dict[str, str]] = self.facts["items"]
        if self.read is not None and self.rng.random() < ABSENT:
            name = self.pick(_WORDS[:6] + ["Umbrella", "Perfume", "Carpet", "Mustard", "Bicycle", "Hat", "Jam"])
            if any(name.casefold() in text.casefold() for text in [*self.facts["texts"], *self.read]):
                return None
            return Made(kind, {"item": name.lower(), "doc": self.called()}, UNKNOWN, guess, NO_THINGS)
        fitting = [i for i, item in enumerate(items) if item[wanted]]
        if not fitting:
            return None
        i = self.pick(fitting)
        name, value = items[i]["name"], items[i][wanted]
        fields = {"item": name.lower() if self.rng.random() < 0.5 else name, "doc": self.called()}
        if self.read is None:
            return Made(kind, fields, UNKNOWN, guess)
        if not self.standing(value, f"item {i}") or not any(name in line for line in self.read):
            return None
        return Made(kind, fields, value, None, self.about(f"item {i}"), None, value)
