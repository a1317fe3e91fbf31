"""Screen questions: what can be asked of a user interface; words are copied from the OCR lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vlm_demo.training.worlds.asker import Description, form
from vlm_demo.training.worlds.common_questions import EXTREMES, CommonAsker, single
from vlm_demo.training.worlds.question import Question, QuestionForm
from vlm_demo.training.worlds.screen_words import AIMS, FIELDS, Words
from vlm_demo.training.worlds.values import Values
from vlm_demo.training.worlds.world import COLOURS, UNKNOWN, WIDGETS, article, number_word, plural_of, series_of

WITH_TEXT = ("button", "tab", "chip", "navigation item", "list item", "checkbox", "switch", "radio button")
CHOICES = ("tab", "chip", "navigation item", "list item", "radio button")  # of which one is selected
STATES = {"selected": ("selected", "active", "chosen"), "on": ("on", "enabled"), "checkbox": ("checked", "ticked")}
NEGATED = {"on": "off", "enabled": "disabled", "checked": "unchecked", "ticked": "not ticked"}
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


class ScreenAsker(CommonAsker):
    """Makes questions about one screen."""

    unnamed = 0.0  # what counts as an element is not well defined
    general = ("element", "UI element")
    adjectives = ("order", "text", "colour")
    vocabulary = {"shape": tuple(w for w in WIDGETS if w not in ("icon", "dialog")), "colour": tuple(COLOURS)}
    extremes = {name: EXTREMES[name] for name in ("leftmost", "rightmost", "top", "bottom")}

    def row(self, i: int) -> dict[str, Any]:
        """Next to the attributes of all areas, a widget's facts; ``phrase`` is how an answer names it."""
        thing = self.picture.things[i]
        return super().row(i) | {"shape": "heading" if thing.shape == "text" else thing.shape}

    def forms(self) -> list[QuestionForm]:
        """Every way to ask that the screen may allow."""
        yes_no = (self.exist, self.number, self.state, self.relation, self.says_exist)
        theme = "dark" if self.facts["dark"] else "light"
        text = 1.0 if self.ocr_lines is not None else 0.3
        found = [
            form(2.6 * text, self.says), form(2.4 * text, self.chosen), form(1.4 * text, self.press),
            form(1.2 * text, self.titled), form(1.4 * text, self.field_value), form(0.8 * text, self.labels),
            form(0.8 * text, self.balanced(self.says_exist), "says exist"),
            form(1.2, self.balanced(self.state), "state"), form(1.4, self.count), form(1.2, self.colour_of, "colour"),
            form(0.6, self.exist), form(0.9, self.place, "where"), self.fact(0.3, "theme", theme),
            form(0.5, self.describe), self.fact(0.1, "medium", "screenshot"),
            form(0.9, self.statement(yes_no), "statement"),
            form(0.7, self.balanced(self.relation), "relation"), form(0.3, self.balanced(self.compare), "compare"),
        ]  # fmt: skip
        return [*found, self.fact(0.8, "element", self.facts["element"])] if self.facts["element"] else found

    def name(self, target: Description, plural: bool = False) -> str:
        """Such as "second tab", "blue button", "Wi-Fi switch"."""
        described = dict(target)
        if "order" in described:
            described["order"] = ORDINALS[described["order"]]
        return super().name(described, plural)

    def of(self, shape: str) -> list[int]:
        """The widgets of a shape."""
        return self.table.matching({"shape": shape})

    def descriptions(self, i: int) -> list[Description]:
        """A widget is named by its shape, or by that and its colour."""
        row = self.rows[i]
        found: list[Description] = [{"shape": row["shape"]}]
        return found + [{"shape": row["shape"], "colour": row["colour"]}] * bool(row["colour"])

    def identify(self, i: int, by_text: bool) -> Description | None:
        """A description that fits one widget alone: by shape, by colour, by its words or by its place."""
        row = self.rows[i]
        looks = self.descriptions(i)
        if by_text and row["text"]:
            looks.append({"shape": row["shape"], "text": row["text"]})
        if not by_text and row["order"] < len(ORDINALS) and len(self.of(row["shape"])) > 1:
            looks.append({"shape": row["shape"], "order": row["order"]})
        fitting = [target for target in looks if self.table.matching(target) == [i]]
        return self.pick(fitting) if fitting else None

    def invented(self) -> str:
        """A text that could be on a widget."""
        return Words(Values(self.rng)).action()

    # What is written.

    def says(self) -> Question | None:
        """What does the button say? And what does the second one?"""
        labelled = [i for i, row in enumerate(self.rows) if row["text"] and row["shape"] in WITH_TEXT]
        if not labelled or self.chance(0.1):
            target: Description = {"shape": self.pick([s for s in WITH_TEXT if not self.of(s)])}
            program = (("filter", target), ("query", "text"))
            return self.build("widget text", self.names(target), program, [self.invented()])
        found = self.identify(self.pick(labelled), by_text=False)
        if found is None:
            return None
        question = self._text("widget text", found)
        others = [i for i in self.of(found["shape"]) if not self.table.fits(i, found)]
        if question is None or question.guess is not None or not others or not self.chance(0.4):
            return question
        order = self.rows[self.pick(others)]["order"]
        follow = self._text("next one", {"shape": found["shape"], "order": order})
        if follow is None or order >= len(ORDINALS):
            return question
        return replace(question, follow=replace(follow, fields={"place": ORDINALS[order]}))

    def _text(self, kind: str, target: Description) -> Question | None:
        program = (*single(target), ("query", "text"))
        return self.build(kind, self.names(target), program, [self.invented()], copied=True)

    def chosen(self) -> Question | None:
        """Which tab is selected? Which switch is on?"""
        shapes = [shape for shape in (*CHOICES, "switch", "checkbox") if len(self.of(shape)) > 1]
        if not shapes:
            return None
        shape = self.pick(shapes)
        state = "selected" if shape in CHOICES else "on"
        fields = {"obj": shape, "state": self.pick(STATES["checkbox" if shape == "checkbox" else state])}
        program = (*single({"shape": shape, state: True}), ("query", "text"))
        guesses = [self.rows[i]["text"] for i in self.of(shape)]
        question = self.build("chosen", fields, program, guesses, copied=True)
        others = [self.rows[i]["text"] for i in self.of(shape) if not self.rows[i].get(state)]
        if question is None or question.guess is not None or len(others) != 1 or not self.legible(others[0]):
            return question
        about = tuple(self.table.matching({"shape": shape, "text": others[0]}))
        return (
            replace(question, follow=Question("other one", {}, others[0], None, about, True))
            if self.chance(0.5)
            else question
        )

    def titled(self) -> Question | None:
        """What is the title of the screen? What does the dialog ask?"""
        shape = self.pick(("app bar", "heading", "dialog"))
        if not self.of(shape) and not (self.chance(0.06) and not self.of("heading")):
            return None
        kind = {"app bar": "screen title", "heading": "screen heading", "dialog": "dialog title"}[shape]
        fields = {"heading": self.pick(("heading", "headline"))}
        program = (*single({"shape": shape}), ("query", "text"))
        return self.build(kind, fields, program, ["Delete this file?", "Settings", "Home"], copied=True)

    def field_value(self) -> Question | None:
        """What is entered as the name?"""
        fields = self.of("text field")
        if not fields:
            return None
        label = self.rows[self.pick(fields)]["label"]
        if self.chance(0.15):
            label = self.pick([name for name in FIELDS if not self.table.matching({"label": name})])
        target = {"shape": "text field", "label": label}
        guess = Values(self.rng).fill(FIELDS[label][1])
        found = self.table.matching(target)
        if found and self.rows[found[0]].get("value") is None:
            return Question("field value", {"field": label.lower()}, UNKNOWN, guess, tuple(found))
        program = (("filter", target), ("query", "value"))
        return self.build("field value", {"field": label.lower()}, program, [guess], copied=True)

    def press(self) -> Question | None:
        """What should I press to save?"""
        present = [self.rows[i]["text"] for i in self.of("button") if self.rows[i]["text"] in AIMS]
        if not present and not self.of("button"):
            return None
        text = self.pick(present if present and self.chance(0.85) else [text for text in AIMS if text not in present])
        aim = self.pick(AIMS[text])
        if text not in present and any(aim in AIMS[other] for other in present):
            return None
        program = (("filter", {"shape": "button", "text": text}), ("query", "text"))
        return self.build("press", {"aim": aim}, program, [text], copied=True)

    def says_exist(self) -> Question | None:
        """Is there a button that says Save?"""
        shapes = [shape for shape in WITH_TEXT if self.of(shape)]
        if not shapes or self.ocr_lines is None:
            return None
        shape = self.pick(shapes)
        present = self.chance(0.5)
        text = self.rows[self.pick(self.of(shape))]["text"] if present else self.invented()
        fields = {"obj": shape, "plural": plural_of(shape), "label": text}
        program = (("filter", {"shape": shape, "text": text}), ("exist",))
        return self.build("says exist", fields, program, needs=[text] if present else [])

    def labels(self) -> Question | None:
        """Which tabs are there?"""
        shapes = [shape for shape in WITH_TEXT if 2 <= len(self.of(shape)) <= 4]
        if not shapes or self.ocr_lines is None:
            return None
        widgets = self.of(self.pick(shapes))
        texts = [self.rows[i]["text"] for i in widgets]
        if not all(self.legible(text) for text in texts):
            return None
        fields = {"plural": plural_of(self.rows[widgets[0]]["shape"])}
        return Question("labels", fields, series_of(texts), None, tuple(widgets), True)

    # What is on, and what is where.

    def _stateful(self) -> tuple[int, str, Sequence[str]] | None:
        found = [
            (i, name) for i, row in enumerate(self.rows) for name in ("on", "selected") if row.get(name) is not None
        ]
        if not found:
            return None
        i, name = self.pick(found)
        return i, name, STATES["checkbox" if self.rows[i]["shape"] == "checkbox" else name]

    def state(self) -> Question | None:
        """Is the Wi-Fi switch on?"""
        found = self._stateful()
        if found is None:
            return None
        i, name, words = found
        target = self.identify(i, by_text=self.ocr_lines is not None)
        if target is None:
            return None
        word, truth = self.pick(words), True
        if name == "on" and self.chance(0.4):
            word, truth = NEGATED.get(word, word), word not in NEGATED
        program = (*single(target), ("query", name), ("is", truth))
        needs = [target["text"]] if "text" in target else []
        return self.build("state", {"obj": self.name(target), "state": word}, program, needs=needs)

    def colour_of(self) -> Question | None:
        """What colour is the button?"""
        coloured = [i for i, row in enumerate(self.rows) if row["colour"] and row["shape"] != "heading"]
        if not coloured or self.chance(0.12):
            shapes = [s for s in ("button", "app bar", "chip", "switch") if not self.of(s)]
            target: Description = {"shape": self.pick(shapes)}
            return self.build("colour", self.names(target), (("filter", target), ("query", "colour")), list(COLOURS))
        target = self.identify(self.pick(coloured), by_text=False) or {}
        target.pop("colour", None)
        return self.build("colour", self.names(target), (*single(target), ("query", "colour"))) if target else None

    def place(self) -> Question | None:
        """Where is the Save button?"""
        target = self.identify(self.pick(range(len(self.rows))), by_text=self.ocr_lines is not None)
        if target is None:
            return None
        needs = [target["text"]] if "text" in target else []
        return self.build("where", self.names(target), (*single(target), ("query", "zone")), needs=needs)

    # The whole screen.

    def describe(self) -> Question | None:
        """Describe the screen: its theme and what is on it."""
        shapes = [shape for shape in dict.fromkeys(row["shape"] for row in self.rows)]
        parts = [
            article(shape) if len(self.of(shape)) == 1 else f"{number_word(len(self.of(shape)))} {plural_of(shape)}"
            for shape in shapes
        ]
        if len(parts) > 4:
            return None
        theme = "dark" if self.facts["dark"] else "light"
        return Question(
            "describe", {}, f"a {theme} screenshot with {series_of(parts)}", None, tuple(range(len(self.rows)))
        )
