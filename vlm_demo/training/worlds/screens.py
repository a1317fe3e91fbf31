"""Screens: user interfaces of phones and desktops, and single widgets cut out of them, drawn by seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vlm_demo.training.worlds import screen_parts as parts
from vlm_demo.training.worlds.screen_sheet import ICONS, RGB, Box, Look, Sheet, mix, random_look
from vlm_demo.training.worlds.screen_words import Words
from vlm_demo.training.worlds.world import Picture, drawn_colour

# What a picture of one component shows, and how often.
COMPONENTS = {
    "button": 0.17, "buttons": 0.06, "tabs": 0.14, "chip": 0.11, "chips": 0.07, "navigation bar": 0.12,
    "top app bar": 0.08, "tag": 0.06, "checkbox": 0.05, "switch": 0.05, "radio buttons": 0.03, "slider": 0.02,
    "text field": 0.04, "dialog": 0.05, "list": 0.05,
}  # fmt: skip
ALONE = 0.45  # the share of pictures that show one component
_SECONDS = ("red", "green", "blue", "orange", "purple", "gray", "yellow", "cyan")


def draw_screen(rng: np.random.Generator, held_out: bool = False) -> Picture:
    """A whole screen or one component.

    ``facts``: ``component`` (a key of COMPONENTS, "" = a whole screen), ``dark``, ``sure`` (the things whose colour is
    beyond doubt: index → what of them has it, "" = all), ``fields`` (index of a text field → ``label``, ``hint``,
    ``value``), ``heading`` (the index of the heading or None), ``texts`` (the printed lines from the top).
    """
    if rng.random() < ALONE:
        names = list(COMPONENTS)
        shares = np.array(list(COMPONENTS.values()))
        return component(str(rng.choice(names, p=shares / shares.sum())), rng, held_out)
    return whole(rng, held_out)


def component(name: str, rng: np.random.Generator, held_out: bool = False) -> Picture:
    """One component, cut out tight."""
    size = int(rng.integers(12, 25))
    look = random_look(rng, size, held_out)
    maker = ComponentMaker(look, rng)
    box = maker.draw(name)
    return maker.sheet.picture(name, box)


class ComponentMaker:
    """Draws one component on a sheet of its own."""

    def __init__(self, look: Look, rng: np.random.Generator) -> None:
        self.look, self.rng = look, rng
        self.words = Words(rng, loud=look.design == "material" and rng.random() < 0.2)

    def draw(self, name: str) -> Box:
        """Draw it on ``sheet``; returns what to cut out."""
        rng, look = self.rng, self.look
        wide = int(rng.integers(240, 500))
        tall = {"tabs": 3, "top app bar": rng.uniform(3, 5), "navigation bar": rng.uniform(4, 6)}.get(
            name, 0
        ) * look.size
        if tall:
            self.sheet = Sheet(wide, round(tall), look, rng)
            return self._bar(name)
        self.sheet = Sheet(720, 330, look, rng)
        self._widget(name)
        boxes = [thing.box for thing in self.sheet.things] + [piece[:4] for piece in self.sheet.pieces]
        low, high = np.min(boxes, 0)[:2], np.max(boxes, 0)[2:]
        near = rng.uniform(0, 14, 4)
        return (
            max(0, low[0] - near[0]), max(0, low[1] - near[1]),
            min(self.sheet.width, high[0] + near[2]), min(self.sheet.height, high[1] + near[3]),
        )  # fmt: skip

    def _bar(self, name: str) -> Box:
        rng, sheet = self.rng, self.sheet
        n = int(rng.integers(2, 5))
        if name == "top app bar":
            parts.app_bar(sheet, 0, sheet.height, self.words.title(), coloured=bool(rng.random() < 0.35))
        elif name == "tabs":
            draw_tabs(sheet, self.words, 0, 0, sheet.width, n)
        else:
            draw_navigation(sheet, self.words, 0, sheet.height, min(n + int(rng.random() < 0.3), 5))
        return (0, 0, sheet.width, sheet.height)

    def _widget(self, name: str) -> None:
        rng, sheet, words = self.rng, self.sheet, self.words
        x, y = 20.0, 20.0
        n = int(rng.integers(2, 5))
        if name == "button":
            draw_button(sheet, words, x, y)
        elif name == "buttons":
            for _ in range(min(n, 3)):
                x = draw_button(sheet, words, x, y, most=11, size=min(sheet.look.size, 16))[2] + 12
        elif name in ("chip", "chips"):
            labels = [words.topic() for _ in range(1 if name == "chip" else n)]
            parts.chips(sheet, x, y, 680 if rng.random() < 0.7 else 320, labels, _some(rng, len(labels)))
        elif name == "tag":
            text = words.topic()
            text = text.upper() if rng.random() < 0.6 else text
            parts.tag(sheet, x, y, text, tonal=bool(rng.random() < 0.4))
        elif name == "checkbox":
            parts.checkbox(sheet, x, y, words.setting(), bool(rng.random() < 0.5), disabled=bool(rng.random() < 0.12))
        elif name == "switch":
            right = x + int(rng.integers(240, 400)) if rng.random() < 0.4 else None
            label = words.setting() if right or rng.random() < 0.7 else ""
            parts.switch(sheet, x, y, label, bool(rng.random() < 0.5), right=right)
        elif name == "radio buttons":
            chosen = int(rng.integers(n))
            for k in range(n):
                y += parts.radio(sheet, x, y, words.choice(), k == chosen) + 4
        elif name == "slider":
            parts.slider(sheet, x, y, int(rng.integers(150, 360)), words.level() if rng.random() < 0.6 else "")
        elif name == "text field":
            draw_field(sheet, words, x, y, int(rng.integers(180, 380)))
        elif name == "dialog":
            draw_dialog(sheet, words, x, y, int(rng.integers(240, 400)))
        else:
            draw_list(sheet, words, x, y, int(rng.integers(200, 420)), min(n, 3))


def _some(rng: np.random.Generator, n: int) -> set[int]:
    """Which of n are selected: mostly none to two."""
    if n == 1:
        return {0} if rng.random() < 0.5 else set()
    return {int(i) for i in rng.choice(n, int(rng.choice([0, 1, 1, 1, 2, 2, 3])) % (n + 1), replace=False)}


def draw_button(sheet: Sheet, words: Words, x: float, y: float, most: int = 30, **how) -> Box:
    """A button of a random sort and state."""
    rng = sheet.rng
    sort = str(rng.choice(parts.SORTS, p=[0.58, 0.3, 0.12]))
    icon = str(rng.choice(ICONS)) if rng.random() < 0.25 else ""
    return parts.button(
        sheet, x, y, words.action(most), sort=sort, colour=_second(sheet) if rng.random() < 0.3 else None, icon=icon,
        disabled=bool(rng.random() < 0.18), **how,
    )  # fmt: skip


def _second(sheet: Sheet) -> tuple[str, RGB]:
    """A second colour that can be seen on the background."""
    for _ in range(10):
        name = str(sheet.rng.choice(_SECONDS))
        rgb = drawn_colour(name, sheet.rng)
        if np.linalg.norm(np.subtract(rgb, sheet.look.back)) > 110:
            return name, rgb
    return parts.accented(sheet)


def draw_tabs(sheet: Sheet, words: Words, x: float, y: float, width: float, n: int) -> float:
    """A row of tabs, one selected; returns its height."""
    style = {"material": "line", "flat": "pill", "bootstrap": "line", "desktop": "folder"}[sheet.look.design]
    style = "line" if sheet.rng.random() < 0.3 else style
    most = int(width / n / sheet.look.size / 0.62)
    labels = [words.topic(max(6, most)) for _ in range(n)]
    return parts.tabs(sheet, x, y, width, labels, int(sheet.rng.integers(n)), style)


def draw_navigation(sheet: Sheet, words: Words, y: float, height: float, n: int) -> None:
    """A navigation bar, one item selected; now and then all have the same word."""
    same = words.pick(("Item", "Label", "Tab")) if sheet.rng.random() < 0.08 else ""
    labels = [same or words.topic(9) for _ in range(n)]
    parts.navigation(sheet, y, height, labels, int(sheet.rng.integers(n)))


def draw_field(sheet: Sheet, words: Words, x: float, y: float, width: float) -> float:
    """A text field, empty or filled; returns its height."""
    label, hint, value = words.field()
    style = sheet.rng.random()
    label = label if style < 0.8 else ""
    return parts.text_field(sheet, x, y, width, label, hint, value if sheet.rng.random() < 0.55 else "")


def draw_dialog(sheet: Sheet, words: Words, x: float, y: float, width: float) -> float:
    """A dialog with a title, perhaps small print, and its buttons; returns its height."""
    look, rng, size = sheet.look, sheet.rng, sheet.look.size
    title = words.question()
    said = [words.sentence() for _ in range(int(rng.integers(0, 3)))]
    columns = max(1, sum(1 + int(sheet.length(s, size * 0.85) / (width - 2 * size)) for s in said)) if said else 0
    inside = size * 2.2 + columns * size * 1.4 + size * 1.2
    height = round(inside + size * 4)
    fill = mix(look.back, (255, 255, 255), 0.09 if look.dark else 1)
    corner = {"material": 18, "flat": 8, "bootstrap": 8, "desktop": 3}[look.design]
    sheet.box((x, y, x + width, y + height), fill, look.line, corner)
    sheet.add("dialog", "black" if look.dark else "white", (x, y, x + width, y + height), (), title)
    sheet.text(x + size, y + size * 1.6, title, size * 1.1, look.ink, heavy=True, most=width - 2 * size)
    if said:
        parts.paragraph(sheet, x + size, y + size * 2.8, width - 2 * size, " ".join(said))
    right = x + width - size
    labels = [words.action(9) for _ in range(int(rng.integers(1, 3)))]
    small = min(size, 15)
    for k, label in enumerate(labels):
        sort = "filled" if k == 0 and rng.random() < 0.7 else str(rng.choice(["outlined", "text"]))
        wide = round(sheet.length(label, small, True) + small * 2)
        if right - wide < x + 4:
            break
        parts.button(
            sheet, right - wide, y + height - size * 0.9 - small * 2.6, label, sort=sort, width=wide, size=small
        )
        right -= wide + size * 0.7
    return height


def draw_list(sheet: Sheet, words: Words, x: float, y: float, width: float, n: int) -> float:
    """A list of n items; returns its height."""
    rng = sheet.rng
    style, top = str(rng.choice(["plain", "card", "avatar"])), y
    more = rng.random() < 0.4
    trail = str(rng.choice(["plus", "more", "dots", "heart", "bookmark", "", ""]))
    for _ in range(n):
        said = words.sentence() if more else ""
        y += parts.list_item(sheet, x, y, width, words.topic(), said, trail, style) + (8 if style == "card" else 0)
    return y - top


def whole(rng: np.random.Generator, held_out: bool = False) -> Picture:
    """A phone's screen or a desktop's window."""
    phone = rng.random() < 0.6
    if phone:
        width, height = int(rng.integers(300, 421)), int(rng.integers(500, 801))
    else:
        width = int(rng.integers(460, 861))
        height = int(width * rng.uniform(0.5, 0.8))
    size = int(np.clip(round(width / 24 if phone else width / 42) + rng.integers(-1, 3), 11, 20))
    look = random_look(rng, size, held_out)
    maker = ScreenMaker(Sheet(width, height, look, rng, 2 if width * height < 260_000 else 1), phone)
    maker.fill()
    return maker.sheet.picture("")


class ScreenMaker:
    """Lays out a whole screen: a bar at the top, columns of sections, a bar at the bottom."""

    def __init__(self, sheet: Sheet, phone: bool) -> None:
        self.sheet, self.phone, self.rng, self.look = sheet, phone, sheet.rng, sheet.look
        self.words = Words(sheet.rng, loud=sheet.look.design == "material" and sheet.rng.random() < 0.15)

    def fill(self) -> None:
        """Draw all of it."""
        sheet, rng, size = self.sheet, self.rng, self.look.size
        if rng.random() < 0.14:
            self._overlaid()
            return
        y, end = 0.0, float(sheet.height)
        barred = rng.random() < 0.75
        if barred:
            height = round(size * rng.uniform(3, 3.8))
            parts.app_bar(sheet, 0, height, self.words.title(), coloured=bool(rng.random() < 0.4))
            y += height
        if rng.random() < (0.3 if barred else 0.15):
            y += draw_tabs(
                sheet, self.words, 0, y, sheet.width if self.phone else sheet.width * 0.6, int(rng.integers(2, 5))
            )
        if self.phone and rng.random() < 0.35:
            height = round(size * rng.uniform(4, 4.8))
            draw_navigation(sheet, self.words, end - height, height, int(rng.integers(2, 6)))
            end -= height
        y += size
        pad = round(size * rng.uniform(1, 1.8))
        columns = 1 if self.phone or rng.random() < 0.4 else 2
        each = (sheet.width - pad * (columns + 1)) / columns
        if rng.random() < 0.45:
            centred = bool(rng.random() < 0.5)
            across = sheet.width - 2 * pad
            y += parts.heading(
                sheet, pad, y, across, self.words.question(), size=size * rng.uniform(1.15, 1.6), centred=centred
            )
            if rng.random() < 0.6:
                text = " ".join(self.words.sentence() for _ in range(int(rng.integers(1, 3))))
                y += parts.paragraph(sheet, pad, y, across, text, centred=centred) + size * 0.4
        for column in range(columns):
            wide = each if self.phone else min(each, size * 26)
            self._column(pad + column * (each + pad), y, wide, end - size * 0.6)

    def _column(self, x: float, y: float, width: float, end: float) -> None:
        """Sections from y on, as many as there is room for."""
        sections: dict[str, Callable[[float, float, float, float], float]] = {
            "list": self._list, "fields": self._fields, "checkboxes": self._checkboxes, "radios": self._radios,
            "switches": self._switches, "chips": self._chips, "buttons": self._buttons, "slider": self._slider,
            "text": self._text,
        }  # fmt: skip
        shares = np.array([0.18, 0.17, 0.13, 0.11, 0.13, 0.08, 0.1, 0.06, 0.04])
        order = [str(s) for s in self.rng.choice(list(sections), 4, replace=False, p=shares)]
        if "buttons" in order:  # they come last
            order.remove("buttons")
        order = order[: int(self.rng.integers(1, 4))]
        if self.rng.random() < 0.65:
            order.append("buttons")
        for name in order:
            y += sections[name](x, y, width, end - y) + self.look.size * self.rng.uniform(0.7, 1.6)

    def _many(self, room: float, each: float, most: int) -> int:
        """How many of that height to draw."""
        return min(int(self.rng.integers(1, most + 1)), int(room / each))

    def _list(self, x: float, y: float, width: float, room: float) -> float:
        n = self._many(room, self.look.size * 4.4, 5)
        return draw_list(self.sheet, self.words, x, y, width, n)

    def _fields(self, x: float, y: float, width: float, room: float) -> float:
        top = y
        for _ in range(self._many(room, self.look.size * 4.8, 4)):
            y += draw_field(self.sheet, self.words, x, y, width) + self.look.size * 0.9
        return y - top

    def _checkboxes(self, x: float, y: float, width: float, room: float) -> float:
        top = y
        for _ in range(self._many(room, self.look.size * 2.4, 5)):
            on, disabled = bool(self.rng.random() < 0.5), bool(self.rng.random() < 0.08)
            y += parts.checkbox(self.sheet, x, y, self.words.setting(), on, disabled=disabled) + self.look.size * 0.5
        return y - top

    def _radios(self, x: float, y: float, width: float, room: float) -> float:
        n = min(int(self.rng.integers(2, 5)), int(room / (self.look.size * 2.4)))
        if n < 2:
            return 0
        top, chosen = y, int(self.rng.integers(n))
        for k in range(n):
            y += parts.radio(self.sheet, x, y, self.words.choice(), k == chosen) + self.look.size * 0.5
        return y - top

    def _switches(self, x: float, y: float, width: float, room: float) -> float:
        top, right = y, x + width if self.rng.random() < (0.85 if self.phone else 0.3) else None
        for _ in range(self._many(room, self.look.size * 3, 5)):
            on, disabled = bool(self.rng.random() < 0.5), bool(self.rng.random() < 0.08)
            y += parts.switch(self.sheet, x, y, self.words.setting(), on, right=right, disabled=disabled)
            y += self.look.size * 0.4
        return y - top

    def _chips(self, x: float, y: float, width: float, room: float) -> float:
        if room < self.look.size * 9:
            return 0
        labels = [self.words.topic(14) for _ in range(int(self.rng.integers(2, 6)))]
        return parts.chips(self.sheet, x, y, width, labels, _some(self.rng, len(labels)))

    def _buttons(self, x: float, y: float, width: float, room: float) -> float:
        size = self.look.size
        if room < size * 3:
            return 0
        n = int(self.rng.choice([1, 1, 2, 2, 3]))
        if self.phone and self.rng.random() < 0.5:
            top = y
            for _ in range(min(n, int(room / (size * 3.2)))):
                y = draw_button(self.sheet, self.words, x, y, width=round(width))[3] + size * 0.6
            return y - top
        left = x
        for _ in range(n):
            if left + size * 9 > x + width:
                break
            most = max(7, int((x + width - left - size * 4) / size / 0.75))
            box = draw_button(self.sheet, self.words, left, y, most=min(most, 24))
            left = box[2] + size * 0.8
        return size * 2.6

    def _slider(self, x: float, y: float, width: float, room: float) -> float:
        if room < self.look.size * 4:
            return 0
        return parts.slider(self.sheet, x, y, min(width, 360), self.words.level())

    def _text(self, x: float, y: float, width: float, room: float) -> float:
        if room < self.look.size * 6:
            return 0
        text = " ".join(self.words.sentence() for _ in range(int(self.rng.integers(1, 4))))
        return parts.paragraph(self.sheet, x, y, width, text)

    def _overlaid(self) -> None:
        """A dialog over a dimmed screen."""
        sheet, rng, size = self.sheet, self.rng, self.look.size
        dim = mix(self.look.back, (0, 0, 0), 0.4)
        sheet.box((0, 0, sheet.width, sheet.height), dim)
        for k in range(int(rng.integers(2, 7))):
            wide, y = sheet.width * rng.uniform(0.3, 0.9), size * (2 + 4 * k)
            sheet.box((size, y, wide, y + size * rng.uniform(0.6, 2.6)), mix(dim, self.look.ink, 0.12), None, 4)
        width = min(sheet.width * rng.uniform(0.72, 0.9), size * 26)
        x = (sheet.width - width) / 2
        draw_dialog(sheet, self.words, round(x), round(sheet.height * rng.uniform(0.25, 0.45)), round(width))
