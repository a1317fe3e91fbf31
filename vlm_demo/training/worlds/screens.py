"""Screens: user interfaces from a template, drawn by seed, with every widget's box, words, colour and state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vlm_demo.training.worlds.browser import HELD_OUT_FONT, page
from vlm_demo.training.worlds.screen_words import FIELDS, Words
from vlm_demo.training.worlds.values import Values
from vlm_demo.training.worlds.world import COLOURS, DrawnPicture, Thing, brightness, drawn_colour, outline_of

SINGLE_SORT = 0.3  # the share of screens that show one sort of widget and nothing else
FONTS = ("sans", "sans", "sans-bold", "serif", "mono", "times")
ICONS = (
    "M12 2l3 7h7l-6 5 2 8-6-4-6 4 2-8-6-5h7z",
    "M12 21l-9-9a5 5 0 019-6 5 5 0 019 6z",
    "M3 11l9-8 9 8v10h-6v-6H9v6H3z",
    "M10 3h4v7h7v4h-7v7h-4v-7H3v-4h7z",
)
TOO_DARK, TOO_BRIGHT = ("brown", "purple", "blue"), ("yellow", "cyan", "pink")  # for words on such a background
ACCENTS = [name for name in COLOURS if name not in ("white", "black", "gray")]

Widget = dict[str, Any]


def draw_screen(rng: np.random.Generator, held_out: bool = False) -> DrawnPicture:
    """A screen of several sections, or one sort of widget alone; ``held_out`` uses the font that training never sees.

    ``facts``: ``dark``; ``element``, the only sort of widget shown, or None; ``words`` and ``texts`` as of every
    picture. A widget's own facts are ``on`` (checkbox, switch), ``selected`` (of which one of a row is), ``disabled``,
    ``label``, ``value`` and ``hint`` (text field), ``heading`` and ``order``, its place among those of its shape.
    """
    values = Values(rng)
    theme = _theme(values, held_out)
    builder = _Builder(values, theme["dark"])
    element = values.pick(list(builder.sections)[:-2]) if values.chance(SINGLE_SORT) else None
    sections = builder.single(element) if element else builder.several()
    widgets = [widget for section in sections for widget in section["widgets"]]
    for i, widget in enumerate(widgets):
        widget["id"] = str(i)
    rendered = page("screen.html", theme=theme, sections=sections)
    things = tuple(_thing(widget, widgets, outline_of(rendered.boxes[widget["id"]])) for widget in widgets)
    facts = {"dark": theme["dark"], "element": element} | rendered.printed
    return DrawnPicture("screens", rendered.image, things, facts)


def _thing(widget: Widget, widgets: list[Widget], outline: np.ndarray) -> Thing:
    fact_names = ("on", "selected", "disabled", "label", "value", "hint", "heading")
    facts = {name: widget[name] for name in fact_names if widget.get(name) not in (None, "")}
    facts["order"] = [other["id"] for other in widgets if other["shape"] == widget["shape"]].index(widget["id"])
    coloured = widget["shape"] in ("button", "app bar", "icon", "slider") or widget.get("on") or widget.get("selected")
    traits = tuple(name for name in ("on", "selected", "disabled") if widget.get(name))
    traits += ("off",) if widget.get("on") is False else ()
    colour = widget["colour"] if coloured and not widget.get("disabled") else ""
    return Thing(widget["shape"], colour, outline, 1.0, traits, widget["text"], facts)


def _theme(values: Values, held_out: bool) -> dict[str, Any]:
    rng = values.rng
    dark = values.chance(0.35)
    background = int(rng.integers(10, 45) if dark else rng.integers(238, 256))
    ink = int(rng.integers(215, 256) if dark else rng.integers(0, 50))
    line, card = (background + 60, background + 22) if dark else (background - 55, 255)
    gray = "rgb({0},{0},{0})".format
    return {
        "dark": dark, "background": gray(background), "ink": gray(ink), "line": gray(line), "card": gray(card),
        "font": HELD_OUT_FONT if held_out else values.pick(FONTS), "size": int(rng.integers(14, 21)),
        "width": int(rng.integers(300, 640)), "gap": int(rng.integers(6, 14)), "pad": int(rng.integers(5, 11)),
        "round": int(rng.choice([0, 4, 8, 20])),
    }  # fmt: skip


class _Builder:
    """Makes the sections of one screen; its accent colour is that of most widgets."""

    def __init__(self, values: Values, dark: bool) -> None:
        self.values, self.words, self.dark = values, Words(values), dark
        self.accent = values.pick([name for name in ACCENTS if name not in (TOO_DARK if dark else TOO_BRIGHT)])
        self.rgbs: dict[str, tuple[int, int, int]] = {}
        self.sections: dict[str, Callable[[], list[Widget]]] = {
            "button": self.buttons, "tab": lambda: self.row("tab", 2, 4), "chip": lambda: self.row("chip", 2, 5),
            "list item": lambda: self.row("list item", 2, 6), "switch": lambda: self.settings("switch"),
            "checkbox": lambda: self.settings("checkbox"),
            "radio button": lambda: self.row("radio button", 2, 4, self.words.choice), "slider": self.sliders,
            "text field": self.fields, "icon": self.icons, "dialog": self.dialog,
            "navigation item": lambda: self.row("navigation item", 3, 4), "text": self.heading,
            "app bar": lambda: [self.widget("app bar", self.words.title())],
        }  # fmt: skip

    def single(self, sort: str) -> list[dict[str, Any]]:
        """One section."""
        return [{"sort": sort, "widgets": self.sections[sort]()}]

    def several(self) -> list[dict[str, Any]]:
        """A screen from its bar to its navigation."""
        middle = ["button", "chip", "list item", "switch", "checkbox", "radio button", "slider", "text field", "icon"]
        sorts = ["app bar"] * self.values.chance(0.75) + ["tab"] * self.values.chance(0.35)
        sorts += ["text"] * self.values.chance(0.35)
        sorts += self.values.several(middle, int(self.values.rng.integers(1, 4)))
        sorts += ["dialog"] * self.values.chance(0.2) + ["navigation item"] * self.values.chance(0.35)
        return [section for sort in sorts for section in self.single(sort)]

    def widget(self, shape: str, text: str = "", colour: str = "", **extra: Any) -> Widget:
        """One widget with the accent's colour unless it has another."""
        colour = colour or self.accent
        rgb = self.rgbs.setdefault(colour, self.tone(colour))
        bright = brightness(rgb)
        colours = {"rgb": "rgb({},{},{})".format(*rgb), "on_rgb": "black" if bright > 140 else "white"}
        return {"shape": shape, "text": text, "colour": colour, "disabled": False, "plain": False, **colours, **extra}

    def tone(self, colour: str) -> tuple[int, int, int]:
        """The colour as it is drawn: of a few the one with the most contrast to the background."""
        tones = [drawn_colour(colour, self.values.rng) for _ in range(6)]
        return max(tones, key=lambda rgb: abs(brightness(rgb) - (25 if self.dark else 247)))

    def buttons(self) -> list[Widget]:
        """One to three, of one colour or several, the last perhaps disabled."""
        count = int(self.values.rng.integers(1, 4))
        colours = self.values.several(ACCENTS, count) if self.values.chance(0.5) else [self.accent] * count
        found = [
            self.widget("button", self.words.action(), colour, plain=colour == self.accent and self.values.chance(0.25))
            for colour in colours
        ]
        found[-1]["disabled"] = count > 1 and self.values.chance(0.25)
        return found

    def row(self, shape: str, low: int, high: int, words: Callable[[], str] | None = None) -> list[Widget]:
        """Several of which one is selected; of list items and chips perhaps none."""
        count = int(self.values.rng.integers(low, high + 1))
        chosen = int(self.values.rng.integers(count))
        if shape in ("list item", "chip") and self.values.chance(0.3):
            chosen = -1
        make = words or self.words.topic
        return [self.widget(shape, make(), selected=i == chosen) for i in range(count)]

    def settings(self, shape: str) -> list[Widget]:
        """Several that are on or off."""
        count = int(self.values.rng.integers(1, 5))
        return [self.widget(shape, self.words.setting(), on=self.values.chance(0.5)) for _ in range(count)]

    def sliders(self) -> list[Widget]:
        """One to three."""
        values = self.values.rng.integers(0, 92, int(self.values.rng.integers(1, 4)))
        return [self.widget("slider", self.words.level(), value=int(value)) for value in values]

    def fields(self) -> list[Widget]:
        """One to four with a value, or with a hint."""
        chosen = self.values.several(list(FIELDS), int(self.values.rng.integers(1, 5)))
        return [
            self.widget(
                "text field", label=label, hint=FIELDS[label][0],
                value=self.values.fill(FIELDS[label][1]) if self.values.chance(0.7) else "",
            )
            for label in chosen
        ]  # fmt: skip

    def icons(self) -> list[Widget]:
        """One to four of different colours."""
        colours = self.values.several(ACCENTS, int(self.values.rng.integers(1, 5)))
        return [self.widget("icon", colour=colour, path=self.values.pick(ICONS)) for colour in colours]

    def heading(self) -> list[Widget]:
        """A line in larger letters."""
        return [self.widget("text", self.words.heading(), heading=True)]

    def dialog(self) -> list[Widget]:
        """A question with two buttons."""
        question = self.widget("dialog", self.words.heading(), value=self.words.notice())
        buttons = [self.widget("button", self.words.action(), plain=plain) for plain in (True, False)]
        return [question, *buttons]
