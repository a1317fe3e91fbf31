"""Values: invented names, companies, addresses, dates and amounts from Faker, as several countries write them."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vlm_demo.errors import VlmDemoError
from vlm_demo.training.worlds.world import COLOURS

# Words that pictures are made of, by sort.
WORDS: dict[str, Any] = json.loads((Path(__file__).parent / "words.json").read_text())

LOCALES = ("en_GB", "en_US", "de_DE", "fr_FR", "nl_NL", "pt_PT", "es_ES")  # it_IT draws its towns from a set
DATES = {
    "en_GB": ("%d/%m/%Y", "%d %B %Y", "%d-%m-%Y", "%d/%m/%y", "%d %b %Y"),
    "en_US": ("%m/%d/%Y", "%B %d, %Y", "%Y-%m-%d", "%m/%d/%y"),
}
OTHER_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%Y-%m-%d", "%d.%m.%y")
CLOCKS = ("%H:%M", "%H:%M:%S", "%I:%M %p")
# The sign before or after an amount, and the word for the currency.
MONEY = {
    "en_GB": ("£", "GBP", "pounds", "RM", "RM", "ringgit"),
    "en_US": ("$", "USD", "dollars"),
}


@dataclass(frozen=True)
class Money:
    """How amounts are written: the sign before or after, and a comma or a point."""

    sign: str
    before: bool
    comma: bool
    name: str

    def plain(self, cents: int) -> str:
        """Such as 1,234.50."""
        text = f"{cents / 100:,.2f}"
        return text.translate(str.maketrans(",.", ".,")) if self.comma else text

    def signed(self, cents: int) -> str:
        """Such as $12.50."""
        return f"{self.sign}{self.plain(cents)}" if self.before else f"{self.plain(cents)} {self.sign}"


@lru_cache(maxsize=len(LOCALES))
def _faker(locale: str) -> Any:
    try:
        from faker import Faker
    except ImportError as error:
        need = "What pictures say is invented by Faker, which is missing; run: pip install -r requirements-train.txt"
        raise VlmDemoError(need) from error
    return Faker(locale)


class Values:
    """Values for one picture, all of one country."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.locale = str(rng.choice(LOCALES, p=[0.4, 0.3, *[0.06] * 5]))
        self.faker = _faker(self.locale)
        self.faker.seed_instance(int(rng.integers(2**31)))
        options = MONEY.get(self.locale, ("€", "EUR", "euros"))
        first = 3 * int(rng.integers(len(options) // 3))
        sign = options[first + int(rng.integers(2))]
        english = self.locale in DATES
        self.money = Money(sign, english and len(sign) < 3, not english, options[first + 2])
        self.date_style = self.pick(DATES.get(self.locale, OTHER_DATES))

    def pick(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def word(self, sort: str) -> str:
        """One of the WORDS of a sort."""
        return str(self.pick(WORDS[sort]))

    def chance(self, share: float) -> bool:
        """True in this share of all cases."""
        return bool(self.rng.random() < share)

    def several(self, options: Sequence[Any], n: int) -> list[Any]:
        """``n`` different ones."""
        return [options[int(i)] for i in self.rng.permutation(len(options))[:n]]

    def company(self) -> str:
        """A company's or a shop's name."""
        style = self.rng.random()
        if style < 0.6:
            return str(self.faker.company())
        name = self.faker.last_name() if style < 0.8 else self.made_up()
        sort = self.pick(("Mart", "Store", "Bakery", "Cafe", "Pharmacy", "Foods", "Books", "Hardware", "Trading"))
        return f"{name} {sort}" + (" SDN BHD" if self.money.sign == "RM" else "")

    def person(self) -> str:
        """A first and a last name."""
        return f"{self.faker.first_name()} {self.faker.last_name()}"

    def address(self) -> list[str]:
        """Street, and town with its code, on two lines."""
        town = f"{self.faker.postcode()} {self.town()}"
        if self.locale == "en_US":
            town = f"{self.town()}, {self.faker.state_abbr()} {self.faker.postcode()}"
        return [" ".join(self.faker.street_address().split()), town]

    def town(self) -> str:
        """A town."""
        return str(self.faker.city())

    def phone(self) -> str:
        """A phone number."""
        return str(self.faker.phone_number())

    def fill(self, pattern: str) -> str:
        """A pattern of `words.json`: {street} is a value, {goods} a word of a sort, {##} two digits, {?} a letter."""

        def value(found: re.Match[str]) -> str:
            name = found[1]
            if name in WORDS:
                return self.word(name)
            return str(getattr(self, name)()) if name.isidentifier() else self.code(name)

        return re.sub(r"\{([^}]+)\}", value, pattern)

    def street(self) -> str:
        """A street and a number."""
        return self.address()[0]

    def postcode(self) -> str:
        """A town's code."""
        return str(self.faker.postcode())

    def country(self) -> str:
        """A country, in the language of this one."""
        return str(self.faker.country())

    def job(self) -> str:
        """What somebody does."""
        return re.split("[,/]", self.faker.job())[0]

    def colour(self) -> str:
        """A colour's name."""
        return str(self.pick(list(COLOURS)))

    def lower(self) -> str:
        """An invented word in small letters."""
        return self.made_up().lower()

    def date(self) -> str:
        """A day as this picture writes days."""
        return self.dated(self.day())

    def amount(self) -> str:
        """An amount without its currency."""
        return self.money.plain(self.cents())

    def price(self) -> str:
        """An amount with its currency."""
        return self.money.signed(self.cents())

    def day(self) -> datetime.date:
        """Any day of these years."""
        return datetime.date(2005, 1, 1) + datetime.timedelta(days=int(self.rng.integers(8000)))

    def dated(self, day: datetime.date) -> str:
        """The day as this picture writes days."""
        return day.strftime(self.date_style)

    def clock(self) -> str:
        """A time of the day."""
        second = int(self.rng.integers(24 * 60 * 60))
        return (datetime.datetime(2000, 1, 1) + datetime.timedelta(seconds=second)).strftime(self.pick(CLOCKS))

    def code(self, pattern: str = "") -> str:
        """Digits for # and letters for ?; of any pattern if none is given."""
        pattern = pattern or self.pick(("######", "??-####", "#### ####", "?#####", "###-###"))
        return str(self.faker.bothify(pattern)).upper()

    def made_up(self) -> str:
        """A word that can't be guessed."""
        return "".join(self.several(WORDS["syllables"], int(self.rng.integers(2, 4)))).capitalize()

    def goods(self, n: int) -> list[str]:
        """Different things that a shop sells."""
        names = self.several(WORDS["goods"], n)
        return [f"{self.word('sorts')} {name}" if self.chance(0.4) else name for name in names]

    def cents(self, low: float = 0.5, high: float = 40) -> int:
        """A price, the smaller ones more often."""
        return int(round(100 * float(np.exp(self.rng.uniform(np.log(low), np.log(high))))))
