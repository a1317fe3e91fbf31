"""Screen statements: how the things of a screen are named, and clauses that are true or false of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlm_demo.training.worlds.asking import Looks
from vlm_demo.training.worlds.screen_words import Words
from vlm_demo.training.worlds.world import Picture, number_word

# How each widget is called; the first name also stands in answers.
NOUNS = {
    "button": ("button",), "checkbox": ("checkbox", "checkbox", "check box"), "radio button": ("radio button",),
    "switch": ("switch", "switch", "toggle"), "slider": ("slider",), "tab": ("tab",), "chip": ("chip",),
    "text field": ("text field", "text field", "text box"), "dialog": ("dialog", "dialog", "popup"),
    "navigation item": ("navigation item", "navigation item", "navigation bar item"),
    "list item": ("list item", "list item", "list entry"), "app bar": ("top app bar", "top bar"),
}  # fmt: skip
_PLURALS = {
    "checkbox": "checkboxes", "check box": "check boxes", "switch": "switches", "text box": "text boxes",
    "list entry": "list entries",
}  # fmt: skip
ORDINALS = ["first", "second", "third", "fourth", "fifth"]
ROWS = ("tab", "navigation item", "chip")

COUNTED = ("button", "checkbox", "radio button", "switch", "tab", "chip", "text field", "navigation item", "list item")
TOLD = ("app bar", "tab", "dialog", "text field", "list item", "checkbox", "radio button", "switch", "slider", "chip",
        "button", "navigation item")  # fmt: skip
CHOICES = (
    ("tab", "selected", ("selected", "active", "highlighted")), ("tab", "selected", ("selected", "open")),
    ("navigation item", "selected", ("selected", "active", "highlighted")),
    ("chip", "selected", ("selected", "active")), ("radio button", "on", ("selected", "chosen", "on")),
    ("switch", "on", ("on", "turned on", "enabled")), ("switch", "off", ("off", "turned off")),
    ("checkbox", "on", ("checked", "ticked", "selected")), ("checkbox", "off", ("unchecked", "not checked")),
    ("button", "disabled", ("disabled", "grayed out", "inactive")),
)  # fmt: skip
# The states of each widget with their opposites.
STATES = {
    "switch": (("on", "off"), ("on", "off"), ("off", "on")),
    "checkbox": (
        ("checked", "unchecked"),
        ("checked", "unchecked"),
        ("unchecked", "checked"),
        ("ticked", "not ticked"),
    ),
    "radio button": (("selected", "not selected"), ("on", "off")),
    "chip": (("selected", "unselected"), ("selected", "not selected"), ("active", "inactive")),
    "tab": (("selected", "not selected"), ("active", "inactive")),
    "navigation item": (("selected", "not selected"), ("active", "inactive")),
    "button": (("enabled", "disabled"), ("disabled", "enabled"), ("clickable", "disabled")),
}


class ScreenStatements:
    """What can be said of a screen; ``rng`` decides between ways that are equally good."""

    def __init__(self, picture: Picture, rng: np.random.Generator, read: list[str] | None) -> None:
        self.picture, self.rng, self.read = picture, rng, read
        self.things = picture.things
        self.component: str = picture.facts["component"]
        self.words = Words(rng)

    def pick(self, options):
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def of(self, shape: str) -> list[int]:
        """All things of that shape."""
        return [i for i, thing in enumerate(self.things) if thing.shape == shape]

    def about(self, among: Sequence[int]) -> Looks:
        """The whole answer is about these; of none: about their absence."""
        return ((0, tuple(among)),)

    def legible(self, text: str) -> bool:
        """Whether OCR read it."""
        return any(text in line for line in self.read or [])

    def noun(self, shape: str, plural: bool = False) -> str:
        """What a widget is called."""
        name = "tag" if shape == "chip" and self.component == "tag" else self.pick(NOUNS[shape])
        return _PLURALS.get(name, name + "s") if plural else name

    def article(self, name: str) -> str:
        return ("an " if name[0] in "aeiou" else "a ") + name

    def series(self, names: Sequence[str], last: str) -> str:
        """a, b and c."""
        return ", ".join(names[:-1]) + f" {last} {names[-1]}"

    def brightness(self) -> str:
        return "dark" if self.picture.facts["dark"] else "light"

    def invented(self, shape: str) -> str:
        """Words that such a widget might say."""
        made = {
            "button": self.words.action, "checkbox": self.words.setting, "switch": self.words.setting,
            "radio button": self.words.choice, "title": self.words.title,
        }  # fmt: skip
        return made.get(shape, self.words.topic)()

    def rowed(self, among: Sequence[int]) -> list[int] | None:
        """The things in their order if they stand in one row or in one column, else None."""
        if not among:
            return None
        centres = np.array([self.things[i].centre for i in among])
        sizes = np.array([np.subtract(self.things[i].box[2:], self.things[i].box[:2]) for i in among])
        if np.ptp(centres[:, 1]) < 0.5 * sizes[:, 1].min():
            return [among[i] for i in np.argsort(centres[:, 0])]
        lefts = np.array([self.things[i].box[0] for i in among])
        if np.ptp(lefts) < 4 and np.diff(np.sort(centres[:, 1])).min() > 0.5 * sizes[:, 1].min():
            return [among[i] for i in np.argsort(centres[:, 1])]
        return None

    def ordinal(self, row: Sequence[int], i: int) -> str | None:
        """first, second, ..., last."""
        place = list(row).index(i)
        ways = ORDINALS[place : place + 1]
        if place == len(row) - 1 and len(row) > 1:
            ways = [*ways, "last", "last"]
        return self.pick(ways) if ways else None

    def pointed(self, i: int, *, coloured: bool = True, marked: bool = True, worded: bool = True) -> str | None:
        """A way to refer to thing i that fits no other: alone, by place, state, colour or, where OCR is on, words.

        ``coloured``, ``marked``, ``worded``: whether its colour, its state and its words may be named.
        """
        thing = self.things[i]
        if thing.shape not in NOUNS:
            return None
        among, noun = self.of(thing.shape), self.noun(thing.shape)
        worded = worded and bool(thing.text) and self.legible(thing.text)
        if len(among) == 1 and (not worded or self.rng.random() < 0.7):
            return noun
        ways = []
        row = self.rowed(among)
        if row is not None and len(row) > 1:
            place = self.ordinal(row, i)
            if place:
                ways += [f"{place} {noun}"] * 2
            beside = self.things[row[0]].centre[0] < self.things[row[-1]].box[0]
            if i in (row[0], row[-1]):
                end = (
                    ("left", "right")
                    if beside and len(row) == 2
                    else ("leftmost", "rightmost")
                    if beside
                    else ("top", "bottom")
                )
                ways.append(f"{end[0 if i == row[0] else 1]} {noun}")
        if marked:
            for trait in ("selected", "disabled"):
                if trait in thing.traits and sum(trait in self.things[k].traits for k in among) == 1:
                    ways += [f"{trait} {noun}"] * 2
        sure = self.picture.facts["sure"]
        alike = [k for k in among if self.things[k].colour == thing.colour or k not in sure]
        if coloured and sure.get(i) == "" and alike == [i]:
            ways.append(f"{thing.colour} {noun}")
        if worded and sum(self.things[k].text == thing.text for k in among) == 1:
            ways += [f'"{thing.text}" {noun}', f"{thing.text} {noun}"] * 2
        return self.pick(ways) if ways else None

    def holds_state(self, i: int, state: str) -> bool:
        """Whether a thing is in that state."""
        traits = self.things[i].traits
        if state in ("enabled", "clickable"):
            return "disabled" not in traits
        if state in ("on", "checked", "ticked"):
            return "on" in traits
        if state in ("off", "unchecked", "not ticked"):
            return "off" in traits
        if state in ("selected", "active"):
            return bool({"selected", "on"} & set(traits))
        if state in ("not selected", "unselected", "inactive"):
            return not {"selected", "on"} & set(traits)
        return state in traits

    def some_group(self) -> tuple[str, list[int]] | None:
        """A group to be counted, how it is called and the things in it."""
        here = [shape for shape in COUNTED if self.of(shape)]
        if not here or self.rng.random() < 0.06:
            shape = self.pick(COUNTED)
            return self.noun(shape, plural=True), self.of(shape)
        shape = self.pick(here)
        among = self.of(shape)
        plural = self.noun(shape, plural=True)
        style = self.rng.random()
        if style > 0.45:
            return plural, among
        if shape in ("checkbox", "switch", "chip") and style < 0.4:
            state = self.pick(STATES[shape])[0]
            group = [i for i in among if self.holds_state(i, state)]
            if not group and self.rng.random() < 0.6:
                return None
            before = state in ("checked", "unchecked", "selected", "unselected", "ticked", "active")
            return (f"{state} {plural}" if before else f"{plural} that are {state}"), group
        sure = self.picture.facts["sure"]
        if shape == "button" and all(i in sure for i in among):
            colour = self.things[self.pick(among)].colour
            return f"{colour} {plural}", [i for i in among if self.things[i].colour == colour]
        return plural, among

    def told(self, shape: str, among: tuple[int, ...]) -> str:
        """Such as "three list items" or "a blue button"."""
        if shape == "app bar":
            return "a title"
        if shape == "navigation item":
            return "a navigation bar"
        n = len(among)
        name = NOUNS[shape][0]
        if n > 1:
            return f"{number_word(n)} {_PLURALS.get(name, name + 's')}"
        sure = self.picture.facts["sure"]
        thing = self.things[among[0]]
        if shape == "button" and sure.get(among[0]) == "":
            name = f"{thing.colour} {name}"
        return self.article(name)

    def related(self) -> tuple[int, int, str, bool] | None:
        """Two things of different shape, a relation in words, and whether it holds."""
        if len(self.things) < 2 or self.component:
            return None
        i, j = (int(k) for k in self.rng.choice(len(self.things), 2, replace=False))
        a, b = self.things[i], self.things[j]
        if "dialog" in (a.shape, b.shape) or (a.shape == b.shape and a.shape in ROWS):
            return None
        relation, words = self.pick((("above", "above"), ("below", "below"), ("below", "under"), ("above", "over")))
        gap = b.box[1] - a.box[3] if a.centre[1] < b.centre[1] else a.box[1] - b.box[3]
        if gap < -2:
            return None
        return i, j, words, (a.centre[1] < b.centre[1]) == (relation == "above")

    def clause(self) -> tuple[str, bool, tuple[int, ...] | None] | None:
        """A clause, whether it is true here, and the things that it is about if that can be said."""
        style = self.rng.random()
        if style < 0.1:
            said = self.pick(("dark", "light"))
            return f"the screen is {said}", said == self.brightness(), None
        if style < 0.4:
            group = self.some_group()
            if group is None:
                return None
            plural, among = group
            n = max(0, len(among) + self.pick((0, 0, 0, -1, 1, 1)))
            if n == 1:
                return None
            quantity, truth = self.pick(
                (("exactly ", n == len(among)), ("at least ", n <= len(among)), ("", n == len(among)))
            )
            return f"there are {quantity}{number_word(n)} {plural}", truth, tuple(among)
        if style < 0.65:
            shape = self.pick(list(NOUNS))
            if not self.of(shape) and self.rng.random() < 0.6:
                return None
            return f"there is {self.article(self.noun(shape))}", bool(self.of(shape)), tuple(self.of(shape))
        shape, states = self.pick(list(STATES.items()))
        among = self.of(shape)
        if not among or self.component == "tag":
            return None
        i, state = self.pick(among), self.pick(states)[0]
        name = self.pointed(i, marked=False)
        return None if name is None else (f"the {name} is {state}", self.holds_state(i, state), (i,))
