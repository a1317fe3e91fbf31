"""Screen words: texts of buttons, tabs, fields and headings, mostly composed, so that they can't be guessed."""

from __future__ import annotations

from collections.abc import Callable

from vlm_demo.training.worlds.phrasings import tidy
from vlm_demo.training.worlds.values import WORDS, Values
from vlm_demo.training.worlds.world import plural_of

AIMS: dict[str, list[str]] = WORDS["aims"]  # the text of a button → reasons to press it
FIELDS: dict[str, list[str]] = WORDS["fields"]  # of a text field by its label: the hint in an empty one, and a value


class Words:
    """Words for one screen, each only once."""

    def __init__(self, values: Values) -> None:
        self.values, self.used = values, set[str]()

    def new(self, make: Callable[[], str], longest: int = 30) -> str:
        """A text of at most so many letters that neither contains nor is contained in another one."""
        text = ""
        for _ in range(30):
            text = make()
            if len(text) <= longest and not any(text.lower() in o or o in text.lower() for o in self.used):
                break
        self.used.add(text.lower())
        return text

    def phrase(self) -> str:
        """Such as "Rename your album"."""
        middle = f"{self.values.word('determiners')} " if self.values.chance(0.3) else ""
        return f"{self.values.word('actions')} {middle}{self.values.word('objects')}"

    def either(self, sort: str, share: float, other: Callable[[], str], longest: int = 30) -> str:
        """In this share of all cases a word of the sort, else another or an invented one."""
        values = self.values
        makers = (lambda: values.pick(list(WORDS[sort])), other, values.made_up)
        shares = [share, (1 - share) * 0.7, (1 - share) * 0.3]
        return self.new(lambda: makers[int(values.rng.choice(3, p=shares))](), longest)

    def plural(self) -> str:
        """Such as "Albums"."""
        return plural_of(self.values.word("objects")).capitalize()

    def action(self) -> str:
        """The text of a button."""
        return self.either("aims", 0.55, self.phrase, 22)

    def topic(self) -> str:
        """The text of a tab, a chip or a list item."""
        return self.either("topics", 0.65, self.plural, 14)

    def setting(self) -> str:
        """What can be on or off."""
        return self.either("settings", 0.7, lambda: f"Show {self.plural().lower()}")

    def choice(self) -> str:
        """One of several, such as a radio button."""
        return self.either("choices", 1.0, self.phrase)

    def level(self) -> str:
        """What a slider sets."""
        return self.either("levels", 1.0, self.phrase)

    def title(self) -> str:
        """A screen's title."""
        return self.either("topics", 0.6, self.phrase)

    def heading(self) -> str:
        """A heading, mostly a question."""
        return self.new(lambda: tidy(self.values.word("headings").format(self.values.word("objects"))), 40)

    def notice(self) -> str:
        """A line of small print."""
        return tidy(self.values.word("notices").format(self.values.word("objects")))
