"""Screen questions: what can be asked of a user interface; words are copied from what OCR read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlm_demo.training.worlds.asking import Looks, Made, Maker, Makers
from vlm_demo.training.worlds.screen_statements import CHOICES, COUNTED, NOUNS, ORDINALS, STATES, TOLD, ScreenStatements
from vlm_demo.training.worlds.screen_words import AIMS
from vlm_demo.training.worlds.world import COLOURS, UNKNOWN, ZONES, Picture, number_word, zone

# Widgets with words on them, those that are pressed, and those of which one is selected.
FIELDS = ("name", "email", "city", "phone", "street", "age", "birthday", "fax number")  # that a form may have
SPEAKING = ("button", "tab", "chip", "navigation item", "list item", "checkbox", "switch", "radio button")
PRESSED = ("button", "tab", "chip", "navigation item")


def makers(picture: Picture, rng: np.random.Generator, read: list[str] | None) -> Makers:
    """What can be asked of a screen; words are copied from ``read``."""
    return ScreenAsker(picture, rng, read).makers()


class ScreenAsker(ScreenStatements):
    """Makes questions about one screen; every method returns one question, or None if it does not fit the screen."""

    def makers(self) -> list[tuple[float, Maker]]:
        """Every kind with its weight."""
        reading = 1.0 if self.read is not None else 0.3
        found: list[tuple[float, Maker]] = [
            (2.6 * reading, self.says), (2.6 * reading, self.chosen), (1.0 * reading, self.title),
            (1.6 * reading, self.heading), (1.2 * reading, self.dialog), (1.4 * reading, self.field_value),
            (1.2 * reading, self.field_label), (1.6 * reading, self.press), (0.8 * reading, self.says_exist),
            (0.8 * reading, self.listed), (1.4, self.state), (1.3, self.either), (1.8, self.place), (1.1, self.count),
            (1.2, self.colour), (0.5, self.exist), (0.9, self.where), (0.3, self.theme), (0.6, self.describe),
            (0.9, self.statement), (0.8, self.relation), (0.3, self.compare), (0.1, self.medium),
        ]  # fmt: skip
        if self.component:
            found.append((0.5, self.element))
        return found

    def asked(
        self, kind: str, fields: dict[str, str], value: str, looks: Looks, guess: str, follow: Made | None = None
    ) -> Made | None:
        """A question whose answer stands in the picture: unknown where OCR is off, None where it read it wrong."""
        if self.read is None:
            return Made(kind, fields, UNKNOWN, guess)
        return Made(kind, fields, value, None, looks, None, value, follow) if self.legible(value) else None

    def says(self) -> Made | None:
        """What does the button say? And, where it is one of a row, what the next one says."""
        among = [i for i in range(len(self.things)) if self.things[i].text and self.things[i].shape in SPEAKING]
        if not among or self.rng.random() < 0.1:
            absent = [shape for shape in SPEAKING if not self.of(shape)]
            shape = self.pick(absent)
            fields = {"obj": self.noun(shape)}
            return Made("widget text", fields, UNKNOWN, self.invented(shape), self.about(()))
        shape = self.things[self.pick(among)].shape
        among, guess = self.of(shape), self.invented(shape)
        i = self.pick(among)
        name = self.pointed(i, worded=False)
        if name is None or not self.things[i].text:
            return None
        follow = self._following(i, among) if self.read is not None else None
        return self.asked("widget text", {"obj": name}, self.things[i].text, self.about((i,)), guess, follow)

    def _following(self, i: int, among: list[int]) -> Made | None:
        row = self.rowed(among)
        if row is None or len(row) < 2 or self.rng.random() < 0.3:
            return None
        other = self.pick([k for k in row if k != i])
        place = self.ordinal(row, other)
        value = self.things[other].text
        if place is None or not self.legible(value):
            return None
        return Made("next one", {"place": place}, value, None, self.about((other,)), None, value)

    def chosen(self) -> Made | None:
        """Which tab is selected?"""
        here = [choice for choice in CHOICES if self.of(choice[0])]
        absent = not here or self.rng.random() < 0.08
        if not here and self.rng.random() < 0.8:
            return None
        shape, state, words = self.pick([choice for choice in CHOICES if choice not in here] if absent else here)
        among = self.of(shape)
        noun = self.noun(shape)
        guess = self.things[self.pick(among)].text if among else self.invented(shape)
        fields = {"obj": noun, "state": self.pick(words)}
        on = [i for i in among if state in self.things[i].traits]
        if not on:
            if not absent and self.rng.random() < 0.85:
                return None
            return Made("chosen", fields, UNKNOWN, guess or self.invented(shape), self.about(()))
        if len(on) > 1 or not self.things[on[0]].text:
            return None
        follow = None
        rest = [i for i in among if i not in on]
        if (
            len(rest) == 1
            and self.read is not None
            and self.legible(self.things[rest[0]].text)
            and self.rng.random() < 0.5
        ):
            other = self.things[rest[0]].text
            follow = Made("other one", {}, other, None, self.about((rest[0],)), None, other)
        return self.asked("chosen", fields, self.things[on[0]].text, self.about(on), guess, follow)

    def place(self) -> Made | None:
        """Which navigation item is selected: first, second or third?"""
        here = [choice for choice in CHOICES if len(self.of(choice[0])) > 1]
        if not here:
            return None
        shape, state, words = self.pick(here)
        row = self.rowed(self.of(shape))
        if row is None or not 2 <= len(row) <= 5:
            return None
        on = [i for i in row if state in self.things[i].traits]
        places = ORDINALS[: len(row)]
        fields = {"obj": self.noun(shape), "state": self.pick(words), "places": self.series(places, "or")}
        if not on:
            if self.rng.random() < 0.5:
                return None
            return Made("chosen place", fields, UNKNOWN, self.pick(places), self.about(()))
        if len(on) > 1:
            return None
        return Made("chosen place", fields, places[row.index(on[0])], None, self.about(on), tuple(row))

    def title(self) -> Made | None:
        """What is the title of the screen?"""
        bars = self.of("app bar")
        if not bars:
            if self.rng.random() < 0.9 or self.of("dialog") or self.picture.facts["heading"] is not None:
                return None
            return Made("screen title", {}, UNKNOWN, self.invented("title"), self.about(()))
        return self.asked("screen title", {}, self.things[bars[0]].text, self.about(bars), self.invented("title"))

    def heading(self) -> Made | None:
        """What is the heading on this screen?"""
        i = self.picture.facts["heading"]
        if i is None:
            if self.rng.random() < 0.93 or self.of("dialog") or self.of("app bar"):
                return None
            return Made("screen heading", {"heading": "heading"}, UNKNOWN, "What are your plans?", self.about(()))
        text = self.things[i].text
        words = ("heading question", "question", "heading") if text.endswith("?") else ("heading", "headline")
        return self.asked("screen heading", {"heading": self.pick(words)}, text, self.about((i,)), "What is new?")

    def dialog(self) -> Made | None:
        """What does the dialog ask?"""
        found = self.of("dialog")
        if not found:
            if self.rng.random() < 0.98:
                return None
            return Made("dialog title", {}, UNKNOWN, "Delete this file?", self.about(()))
        return self.asked("dialog title", {}, self.things[found[0]].text, self.about(found), "Delete this file?")

    def field_value(self) -> Made | None:
        """What is entered as the name?"""
        fields = self.picture.facts["fields"]
        if not fields:
            if self.rng.random() < 0.99:
                return None
            return Made("field value", {"field": self.pick(FIELDS)}, UNKNOWN, "Anna", self.about(()))
        labels = {held["label"].lower() for held in fields.values()}
        if self.rng.random() < 0.15:
            name = self.pick(
                [f for f in ("name", "email", "city", "phone", "street", "age") if f not in labels] or ["fax"]
            )
            return Made("field value", {"field": name}, UNKNOWN, "Anna", self.about(()))
        labelled = [i for i in fields if fields[i]["label"]]
        filled = [i for i in labelled if fields[i]["value"]]
        if not labelled:
            return None
        i = self.pick(filled or labelled)
        held = fields[i]
        named = {"field": held["label"].lower()}
        if not held["value"]:
            if self.rng.random() < 0.7:
                return None
            return Made("field value", named, UNKNOWN, "Anna", self.about((i,)))
        return self.asked("field value", named, held["value"], self.about((i,)), "Anna")

    def field_label(self) -> Made | None:
        """What is the label of the text field? What is the hint in it?"""
        fields = self.picture.facts["fields"]
        if len(fields) == 0:
            return None
        i = self.pick(list(fields))
        name = self.pointed(i, worded=False)
        sort = self.pick([s for s in ("label", "hint") if fields[i][s]] or ["label"])
        value = fields[i][sort]
        if name is None or not value:
            return None
        words = {"label": ("label",), "hint": ("placeholder", "hint")}[sort]
        return self.asked("field label", {"obj": name, "part": self.pick(words)}, value, self.about((i,)), "Name")

    def press(self) -> Made | None:
        """What should I press to save?"""
        buttons = self.of("button")
        here = {self.things[i].text.lower(): i for i in buttons}
        known = [label for label in AIMS if label.lower() in here]
        if known and self.rng.random() < 0.85:
            label = self.pick(known)
            i = here[label.lower()]
            aims = set(AIMS[label].split("|"))
            if any(aims & set(AIMS[other].split("|")) for other in known if other != label):
                return None
            fields = {"aim": self.pick(sorted(aims))}
            return self.asked("press", fields, self.things[i].text, self.about((i,)), self.invented("button"))
        if not buttons or self.rng.random() < 0.7:
            return None
        taken = {aim for label in known for aim in AIMS[label].split("|")}
        if any(text.lower() not in {a.lower() for a in AIMS} for text in here) and self.rng.random() < 0.5:
            return None
        aim = self.pick([aim for label in AIMS for aim in AIMS[label].split("|") if aim not in taken])
        if any(word in text for text in here for word in aim.split() if len(word) > 3):
            return None
        return Made("press", {"aim": aim}, UNKNOWN, self.things[self.pick(buttons)].text, self.about(()))

    def says_exist(self) -> Made | None:
        """Is there a button that says Save?"""
        here = [thing.shape for thing in self.things if thing.shape in SPEAKING]
        shape = self.pick(here if here and self.rng.random() < 0.9 else SPEAKING)
        among = [i for i in self.of(shape) if self.things[i].text]
        there = bool(among) and self.rng.random() < 0.55
        taken = {thing.text.lower() for thing in self.things}
        elsewhere = [t.text for t in self.things if t.text and t.shape in PRESSED and t.shape != shape]
        text = self.things[self.pick(among)].text if there else self.invented(shape)
        if not there and elsewhere and self.rng.random() < 0.3:
            text = self.pick(elsewhere)
            if any(self.things[i].text == text for i in among):
                return None
        elif not there and text.lower() in taken:
            return None
        fields = {"obj": self.noun(shape), "label": text}
        if self.read is None:
            return Made("says exist", fields, UNKNOWN, self.pick(("yes", "no")))
        fitting = tuple(i for i in among if self.things[i].text == text)
        if there and not self.legible(text):
            return None
        return Made("says exist", fields, "yes" if there else "no", None, self.about(fitting))

    def listed(self) -> Made | None:
        """Which topics are listed? Up to three labels, one after the other."""
        shape = self.pick(("tab", "chip", "list item", "list item", "button", "navigation item", "radio button"))
        among = self.rowed(self.of(shape))
        if among is None or not 2 <= len(among) <= 4:
            return None
        labels = [self.things[i].text for i in among]
        fields = {"plural": self.noun(shape, plural=True)}
        if shape == "list item" and self.rng.random() < 0.6:
            fields = {"plural": self.pick(("topics", "entries", "items"))}
        if self.read is None:
            return Made("labels", fields, UNKNOWN, self.invented(shape))
        if not all(label and self.legible(label) for label in labels):
            return None
        looks, at = [], 0
        for i, label in zip(among, labels, strict=True):
            looks.append((at, (i,)))
            at += len(label) + (5 if i == among[-2] else 2)
        return Made("labels", fields, self.series(labels, "and"), None, tuple(looks))

    def _stated(self) -> tuple[int | None, str, str, str] | None:
        """A thing with a state (None = an absent one), how to refer to it, the state it may be in and its opposite."""
        here = [shape for shape in STATES if self.of(shape) and self.component != "tag"]
        absent = not here or self.rng.random() < 0.08
        if not here and self.rng.random() < 0.8:
            return None
        shape = self.pick([shape for shape in STATES if not self.of(shape)] if absent else here)
        among = self.of(shape)
        state, opposite = self.pick(STATES[shape])
        if absent:
            return None, self.noun(shape), state, opposite
        if self.rng.random() < 0.08:
            label = self.invented(shape)
            if label.lower() not in {thing.text.lower() for thing in self.things}:
                return None, f'"{label}" {self.noun(shape)}', state, opposite
        wanted = self.pick((state, opposite))
        fitting = [i for i in among if self.holds_state(i, wanted)]
        if not fitting and self.rng.random() < 0.6:
            return None
        i = self.pick(fitting or among)
        name = self.pointed(i, marked=False)
        if name is None and self.read is None and self.things[i].text and self.rng.random() < 0.3:
            return None, f'"{self.things[i].text}" {self.noun(shape)}', state, opposite
        return None if name is None else (i, name, state, opposite)

    def _same_of(self, i: int, answer: Callable[[int], str]) -> Made | None:
        """The same question about another thing of its sort."""
        others = [k for k in self.of(self.things[i].shape) if k != i]
        if not others or self.rng.random() < 0.5:
            return None
        other = self.pick(others)
        name = self.pointed(other, coloured=False, marked=False)
        return None if name is None else Made("follow thing", {"obj": name}, answer(other), None, self.about((other,)))

    def state(self) -> Made | None:
        """Is the switch on?"""
        found = self._stated()
        if found is None:
            return None
        i, name, state, opposite = found
        fields = {"obj": name, "state": state}
        if i is None:
            return Made("state", fields, UNKNOWN, self.pick(("yes", "no")), self.about(()))
        follow = self._same_of(i, lambda k: "yes" if self.holds_state(k, state) else "no")
        answer = "yes" if self.holds_state(i, state) else "no"
        return Made("state", fields, answer, None, self.about((i,)), follow=follow)

    def either(self) -> Made | None:
        """Is the switch on or off?"""
        found = self._stated()
        if found is None:
            return None
        i, name, state, opposite = found
        ways = [state, opposite]
        if self.rng.random() < 0.5:
            ways.reverse()
        fields = {"obj": name, "state": ways[0], "other": ways[1]}
        if i is None:
            return Made("either state", fields, UNKNOWN, self.pick(ways), self.about(()))
        follow = self._same_of(i, lambda k: state if self.holds_state(k, state) else opposite)
        answer = state if self.holds_state(i, state) else opposite
        return Made("either state", fields, answer, None, self.about((i,)), follow=follow)

    def count(self) -> Made | None:
        """How many tabs are there?"""
        what = self.some_group()
        if what is None:
            return None
        plural, among = what
        if len(among) == 1 and self.rng.random() < 0.7:
            return None
        follow = None
        other = self.some_group() if self.rng.random() < 0.2 else None
        if other is not None and other[0] != plural:
            more = number_word(len(other[1]))
            follow = Made("follow plural", {"plural": other[0]}, more, None, self.about(tuple(other[1])))
        return Made("count", {"plural": plural}, number_word(len(among)), None, self.about(tuple(among)), follow=follow)

    def colour(self) -> Made | None:
        """What colour is the Save button?"""
        sure: dict[int, str] = self.picture.facts["sure"]
        if self.rng.random() < 0.16 or not sure:
            shape = self.pick(("button", "tab", "chip", "switch", "checkbox", "slider", "app bar", "dialog"))
            if self.of(shape) or (not sure and self.rng.random() < 0.8):
                return None
            guess = self.pick(list(COLOURS)) if not sure else self.things[self.pick(list(sure))].colour
            return Made("colour", {"obj": self.noun(shape)}, UNKNOWN, guess, self.about(()))
        i = self.pick(list(sure))
        name = self.pointed(i, coloured=False)
        if name is None:
            return None
        if sure[i]:
            name = self.pick((f"{name}'s {sure[i]}", f"{sure[i]} of the {name}", f"line of the {name}"))
        return Made("colour", {"obj": name}, self.things[i].colour, None, self.about((i,)))

    def exist(self) -> Made | None:
        """Is there a switch?"""
        shapes = [s for s in NOUNS if s not in ("icon", "text")]
        here = [s for s in shapes if self.of(s)]
        there = bool(here) and self.rng.random() < 0.5
        shape = self.pick(here) if there else self.pick([s for s in shapes if s not in here])
        fields = {"obj": self.noun(shape), "plural": self.noun(shape, plural=True)}
        return Made("exist", fields, "yes" if there else "no", None, self.about(tuple(self.of(shape))))

    def where(self) -> Made | None:
        """Where is the slider?"""
        if self.component:
            return None
        if self.rng.random() < 0.18:
            absent = [s for s in NOUNS if not self.of(s) and s not in ("icon", "text")]
            guess = self.pick([place for row in ZONES for place in row])
            return Made("where", {"obj": self.noun(self.pick(absent))}, UNKNOWN, guess, self.about(()))
        i = int(self.rng.integers(len(self.things)))
        name, place = self.pointed(i), zone(self.things[i], self.picture.image.size)
        if name is None or place is None:
            return None
        return Made("where", {"obj": name}, place, None, self.about((i,)))

    def relation(self) -> Made | None:
        """Is the slider above the button?"""
        made = self.related()
        if made is None:
            return None
        i, j, words, truth = made
        one, two = self.pointed(i), self.pointed(j)
        if one is None or two is None or one == two:
            return None
        fields = {"obj": one, "other": two, "relation": words}
        return Made("relation", fields, "yes" if truth else "no", None, self.about((i, j)))

    def compare(self) -> Made | None:
        """Are there more switches than buttons?"""
        shapes = [s for s in COUNTED if self.of(s)]
        if not shapes or self.component:
            return None
        one, two = self.pick(shapes), self.pick(shapes if len(shapes) > 1 else COUNTED)
        if one == two:
            return None
        if self.rng.random() < 0.5:
            one, two = two, one
        fields = {"plural": self.noun(one, plural=True), "others": self.noun(two, plural=True)}
        return Made("compare", fields, "yes" if len(self.of(one)) > len(self.of(two)) else "no")

    def theme(self) -> Made:
        """Light or dark?"""
        return Made("theme", {}, "dark" if self.picture.facts["dark"] else "light")

    def element(self) -> Made:
        """What kind of element is this?"""
        return Made("element", {}, self.component, None, self.about(tuple(range(len(self.things)))))

    def medium(self) -> Made:
        """What kind of picture is this?"""
        return Made("medium", {}, "screenshot")

    def describe(self) -> Made | None:
        """A dark screen with a title, three list items and a blue button."""
        told: list[tuple[str, tuple[int, ...]]] = []
        if self.component in ("", "dialog", "list", "buttons", "chips", "radio buttons"):
            text = f"a {self.brightness()} {'screen' if not self.component else 'screenshot'} with "
            for shape in TOLD:
                among = tuple(self.of(shape))
                if among:
                    told.append((self.told(shape, among), among))
            if not told or len(told) > 5:
                return None
            looks = []
            for place, (name, among) in enumerate(told):
                looks.append((len(text), among))
                rest = len(told) - 1 - place
                text += name + (", " if rest > 1 else " and " if rest else "")
            return Made("describe", {}, text, None, tuple(looks))
        noun = self.article(self.component) if not self.component.endswith("s") else self.component
        text, looks = noun, [(0, tuple(range(len(self.things))))]
        widgets = [i for i in range(len(self.things)) if self.things[i].shape not in ("icon", "text")]
        if self.component in ("tabs", "navigation bar"):
            n = f"{number_word(len(widgets))} {self.noun(self.things[widgets[0]].shape, plural=True)}"
            text = n if self.component == "tabs" else f"a navigation bar with {number_word(len(widgets))} items"
        elif widgets[0] in self.picture.facts["sure"]:
            text = self.article(f"{self.things[widgets[0]].colour} {self.component}")
        text += f" on a {self.brightness()} background" if self.rng.random() < 0.5 else ""
        label = self.things[widgets[0]].text
        if len(widgets) == 1 and label and self.read is not None and self.legible(label) and " on a " not in text:
            text += f' that says "{label}"'
            return Made("describe", {}, text, None, (*looks, (text.index(label), (widgets[0],))), None, label)
        return Made("describe", {}, text, None, tuple(looks))

    def statement(self) -> Made | None:
        """True or false: the switch is on."""
        made = self.clause()
        if made is None:
            return None
        text, truth, among = made
        looks = () if among is None else self.about(among)
        if self.rng.random() < 0.6:
            return Made("yes statement", {"statement": text}, "yes" if truth else "no", None, looks)
        return Made("true statement", {"statement": text}, "true" if truth else "false", None, looks)
