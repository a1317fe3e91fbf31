"""Screen parts: the widgets of user interfaces, each drawn onto a sheet and recorded with its words and its state."""

from __future__ import annotations

from vlm_demo.training.worlds.screen_sheet import ICONS, RGB, Box, Sheet, bright, ink_on, mix, named

SORTS = ("filled", "outlined", "text")  # of buttons


def ink_name(sheet: Sheet) -> str:
    """The colour name of its letters."""
    return "white" if sheet.look.dark else "black"


def accented(sheet: Sheet) -> tuple[str, RGB]:
    """The leading colour, its name and how it is drawn."""
    return sheet.look.accent, sheet.look.rgb


def readable(sheet: Sheet, rgb: RGB) -> RGB:
    """The colour if letters of it can be read on the background, else that of other letters."""
    return rgb if abs(bright(rgb) - bright(sheet.look.back)) > 75 else sheet.look.ink


def button(
    sheet: Sheet,
    x: float,
    y: float,
    text: str,
    *,
    sort: str = "filled",
    colour: tuple[str, RGB] | None = None,
    width: float | None = None,
    size: float | None = None,
    icon: str = "",
    disabled: bool = False,
) -> Box:
    """A button with its left top corner at (x, y); returns its box."""
    look = sheet.look
    size = size or look.size
    height = round(size * 2.6)
    lead = size * 1.5 if icon else 0
    words = sheet.length(text, size, True)
    wide = width or round(words + lead + size * 2.4)
    name, rgb = colour or accented(sheet)
    ink = ink_on(rgb) if sort == "filled" else rgb
    if sort != "filled" and (look.design == "desktop" or readable(sheet, rgb) != rgb):
        name, ink = ink_name(sheet), look.ink
    edge = (ink if look.design == "bootstrap" else mix(look.ink, look.back, 0.45)) if sort == "outlined" else None
    if disabled:
        name, rgb, ink = "gray", mix(look.back, look.ink, 0.14), mix(look.back, look.ink, 0.42)
        edge = mix(look.back, look.ink, 0.2) if edge else None
    box = (x, y, x + wide, y + height)
    sheet.box(box, rgb if sort == "filled" else None, edge, look.radius(height), max(1, size / 14))
    traits = (*(("outlined",) if sort == "outlined" else ()), *(("disabled",) if disabled else ()))
    sheet.add("button", name, box, traits, text, "" if sort == "filled" and not disabled else None)
    middle = y + height / 2
    if edge and look.radius(height) < 8:
        sheet.mistake("edge", x, middle, size / 2)
    most = max(wide - size * 1.2 - lead, size)
    start = x + (wide - min(words, most) - lead) / 2
    if icon:
        sheet.icon(icon, start + size * 0.45, middle, size * 0.45, ink)
    sheet.text(start + lead, middle, text, size, ink, heavy=True, most=most)
    return box


def tabs(sheet: Sheet, x: float, y: float, width: float, labels: list[str], selected: int, style: str) -> float:
    """A row of tabs, ``style`` line, pill or folder; returns its height."""
    look, size = sheet.look, sheet.look.size
    height = round(size * 3)
    name, rgb = accented(sheet)
    each = width / len(labels)
    if style == "line":
        sheet.box((x, y + height - 1, x + width, y + height), look.line)
    for i, label in enumerate(labels):
        box = (round(x + i * each), y, round(x + (i + 1) * each), y + height)
        on = i == selected
        ink, part = look.ink if on else look.faint, None
        if on and style == "line":
            thick = max(2, size / 6)
            sheet.box((box[0], box[3] - thick, box[2], box[3]), rgb)
            ink, part = (readable(sheet, rgb) if look.design != "bootstrap" else ink), "indicator"
        elif on and style == "pill":
            sheet.box((box[0] + 3, y + 4, box[2] - 3, box[3] - 4), rgb, None, look.radius(height - 8))
            ink, part = ink_on(rgb), ""
        elif style == "folder":
            fill = look.back if on else mix(look.back, look.ink, 0.1)
            sheet.box((box[0], y + (0 if on else 4), box[2], box[3]), fill, look.line, 3)
            if on:
                sheet.box((box[0], y, box[2], y + max(2, size / 6)), rgb)
                part = "indicator"
        colour = name if on else ink_name(sheet)
        sheet.add("tab", colour, box, ("selected",) if on else (), label, part)
        middle = y + height / 2
        sheet.text((box[0] + box[2]) / 2, middle, label, size, ink, anchor="mm", heavy=on, most=each - size * 0.8)
    return height


def chips(sheet: Sheet, x: float, y: float, width: float, labels: list[str], selected: set[int]) -> float:
    """Chips, as many in a row as there is room for; returns their height."""
    look = sheet.look
    size = look.size * 0.92
    height, gap = round(size * 2.3), round(size * 0.7)
    name, rgb = accented(sheet)
    tonal = sheet.rng.random() < 0.4
    ticked = sheet.rng.random() < 0.5
    left, top = x, y
    for i, label in enumerate(labels):
        on = i in selected
        lead = size * 1.4 if on and ticked else 0
        wide = min(round(sheet.length(label, size) + lead + size * 1.8), width)
        if left > x and left + wide > x + width:
            left, top = x, top + height + gap
        box = (left, top, left + wide, top + height)
        fill = (look.tonal if tonal else rgb) if on else None
        ink = (look.ink if tonal else ink_on(rgb)) if on else look.ink
        radius = look.radius(height) if look.design in ("material", "flat") else height / 2
        sheet.box(box, fill, None if on else look.line, radius, max(1, size / 14))
        traits = ("selected",) if on else ("outlined",)
        sheet.add("chip", name if on else ink_name(sheet), box, traits, label, "" if on and not tonal else None)
        if lead:
            sheet.icon("check", left + size * 1.1, top + height / 2, size * 0.42, ink)
        sheet.text(left + size * 0.9 + lead, top + height / 2, label, size, ink, most=wide - lead - size)
        left += wide + gap
    return top + height - y


def tag(sheet: Sheet, x: float, y: float, text: str, *, tonal: bool) -> Box:
    """A tag, which is a chip that does nothing; returns its box."""
    look = sheet.look
    size = look.size * 0.9
    height = round(size * 2.1)
    box = (x, y, x + round(sheet.length(text, size, True) + size * 1.8), y + height)
    name, rgb = accented(sheet)
    fill = look.tonal if tonal else rgb
    sheet.box(box, fill, None, look.radius(height))
    sheet.add("chip", name, box, (), text, None if tonal else "")
    sheet.text((box[0] + box[2]) / 2, y + height / 2, text, size, ink_on(fill), anchor="mm", heavy=True)
    return box


def navigation(sheet: Sheet, y: float, height: float, labels: list[str], selected: int) -> None:
    """A navigation bar across the sheet: icons over words."""
    look = sheet.look
    size = min(look.size * 0.9, height * 0.22)
    name, rgb = accented(sheet)
    sheet.box((0, y, sheet.width, y + height), look.surface)
    pill, filled = sheet.rng.random() < 0.65, sheet.rng.random() < 0.5
    each = sheet.width / len(labels)
    signs = [str(s) for s in sheet.rng.choice(ICONS[4:], len(labels), replace=sheet.rng.random() < 0.2)]
    for i, label in enumerate(labels):
        on = i == selected
        box = (round(i * each), y, round((i + 1) * each), y + height)
        part = None
        x, middle = (box[0] + box[2]) / 2, y + height * 0.36
        ink = look.faint
        if on:
            fill = rgb if filled else look.tonal
            ink = ink_on(fill) if pill else readable(sheet, rgb)
            part = "" if filled or not pill else None
            if pill:
                wide = min(each * 0.42, height * 0.4)
                tall = height * 0.21
                sheet.box((x - wide, middle - tall, x + wide, middle + tall), fill, None, look.radius(tall * 2))
        sheet.add("navigation item", name if on else "gray", box, ("selected",) if on else (), label, part)
        sheet.icon(signs[i], x, middle, height * 0.12, ink)
        word = look.ink if on and pill else ink
        sheet.text(x, y + height * 0.76, label, size, word, anchor="mm", heavy=on, most=each - 6)


def app_bar(sheet: Sheet, y: float, height: float, title: str, *, coloured: bool, size: float | None = None) -> None:
    """A bar with a title across the sheet."""
    look, rng = sheet.look, sheet.rng
    name, rgb = accented(sheet)
    back = rgb if coloured else look.surface if rng.random() < 0.4 else look.back
    ink = ink_on(back)
    sheet.box((0, y, sheet.width, y + height), back)
    if not coloured and rng.random() < 0.3:
        sheet.box((0, y + height - 1, sheet.width, y + height), look.line)
    colour = name if coloured else "black" if look.dark else "white"
    sheet.add("app bar", colour, (0, y, sheet.width, y + height), (), title, "" if coloured else None)
    middle, r = y + height / 2, min(height * 0.17, look.size * 0.7)
    left, right = look.size * 1.2, sheet.width - look.size * 1.2

    def sign(name: str, x: float) -> None:
        sheet.icon(name, x, middle, r, ink)
        sheet.add("icon", named(ink), (x - r * 1.7, middle - r * 1.7, x + r * 1.7, middle + r * 1.7))

    if rng.random() < 0.7:
        sign(str(rng.choice(["menu", "back", "search", "close"])), left + r)
        left += r * 2 + look.size
    for k in range(int(rng.integers(0, 3))):
        sign(str(rng.choice(["dots", "search", "heart", "bell", "person", "plus"])) if k else "dots", right - r)
        right -= r * 2 + look.size
    size = size or look.size * rng.uniform(1.1, 1.45)
    if rng.random() < 0.5:
        half = min(sheet.width / 2 - left, right - sheet.width / 2)
        sheet.text(sheet.width / 2, middle, title, size, ink, anchor="mm", heavy=True, most=2 * half)
    else:
        sheet.text(left, middle, title, size, ink, heavy=bool(rng.random() < 0.6), most=right - left)


def checkbox(sheet: Sheet, x: float, y: float, label: str, on: bool, *, disabled: bool = False) -> float:
    """A box to tick with its words at the right, its left top corner at (x, y); returns its height."""
    look, size = sheet.look, sheet.look.size
    side, height = size * 1.3, size * 1.9
    name, rgb = ("gray", mix(look.back, look.ink, 0.4)) if disabled else accented(sheet)
    middle = y + height / 2
    box = (x, middle - side / 2, x + side, middle + side / 2)
    corner = {"material": 3, "flat": 4, "bootstrap": 4, "desktop": 0}[look.design]
    if on and (look.design != "desktop" or disabled):
        sheet.box(box, rgb, None, corner)
        sheet.icon("check", x + side / 2, middle, side * 0.3, ink_on(rgb))
    else:
        edge = mix(look.back, look.ink, 0.25 if disabled else 0.6)
        sheet.box(box, None, edge, corner, max(1, size / 9))
        if on:
            sheet.icon("check", x + side / 2, middle, side * 0.34, rgb)
    words = sheet.text(x + side + size * 0.7, middle, label, size, look.faint if disabled else look.ink)
    if not (on and look.design != "desktop"):
        sheet.mistake("checkbox on" if on else "checkbox off", x + side / 2, middle, side / 2)
    traits = ("on" if on else "off", *(("disabled",) if disabled else ()))
    whole = (x - 2, y, x + side + size * 0.7 + words + 2, y + height)
    sheet.add("checkbox", name if on else "gray", whole, traits, label, "" if on and not disabled else None)
    return height


def radio(sheet: Sheet, x: float, y: float, label: str, on: bool) -> float:
    """One of several choices, its left top corner at (x, y); returns its height."""
    look, size = sheet.look, sheet.look.size
    r, height = size * 0.65, size * 1.9
    name, rgb = accented(sheet)
    middle = y + height / 2
    if on and look.design == "bootstrap":
        sheet.disc(x + r, middle, r, rgb)
        sheet.disc(x + r, middle, r * 0.4, ink_on(rgb))
    else:
        sheet.disc(x + r, middle, r, None, rgb if on else mix(look.back, look.ink, 0.6), max(1, size / 8))
        if on:
            sheet.disc(x + r, middle, r * 0.5, rgb)
    sheet.mistake("radio on" if on else "radio off", x + r, middle, r)
    words = sheet.text(x + 2 * r + size * 0.7, middle, label, size, look.ink)
    whole = (x - 2, y, x + 2 * r + size * 0.7 + words + 2, y + height)
    traits = ("on", "selected") if on else ("off",)
    sheet.add("radio button", name if on else "gray", whole, traits, label, "" if on else None)
    return height


def switch(
    sheet: Sheet, x: float, y: float, label: str, on: bool, *, right: float | None = None, disabled: bool = False
) -> float:
    """A switch with its words: at the right of it, or at the left with the switch ending at ``right``; its height."""
    look, size = sheet.look, sheet.look.size
    tall, wide, height = size * 1.5, size * 2.7, size * 2.6
    name, rgb = ("gray", mix(look.back, look.ink, 0.3)) if disabled else accented(sheet)
    middle, left = y + height / 2, x if right is None else right - wide
    track = (left, middle - tall / 2, left + wide, middle + tall / 2)
    if on:
        sheet.box(track, rgb, None, tall / 2)
        sheet.disc(left + wide - tall / 2, middle, tall * 0.38, ink_on(rgb))
    else:
        hollow = look.design in ("material", "bootstrap")
        grey = mix(look.back, look.ink, 0.2 if disabled else 0.45)
        sheet.box(track, None if hollow else mix(look.back, look.ink, 0.25), grey if hollow else None, tall / 2)
        knob = grey if hollow else (250, 250, 250) if not look.dark else (200, 200, 204)
        sheet.disc(left + tall / 2, middle, tall * (0.28 if hollow else 0.38), knob)
    sheet.mistake("switch on" if on else "switch off", left + wide / 2, middle, tall / 2)
    traits = ("on" if on else "off", *(("disabled",) if disabled else ()))
    ink = look.faint if disabled else look.ink
    if right is None:
        words = sheet.text(left + wide + size * 0.8, middle, label, size, ink) if label else -size * 0.8
        whole = (x - 2, y, left + wide + size * 0.8 + words + 2, y + height)
    else:
        sheet.text(x, middle, label, size, ink, most=left - x - size)
        whole = (left - 3, y, left + wide + 3, y + height)
    sheet.add("switch", name if on else "gray", whole, traits, label, "" if on and not disabled else None)
    return height


def slider(sheet: Sheet, x: float, y: float, width: float, label: str) -> float:
    """A slider under its words; returns its height."""
    look, size = sheet.look, sheet.look.size
    name, rgb = accented(sheet)
    top = y
    if label:
        sheet.text(x, y + size * 0.8, label, size, look.ink)
        top += size * 1.5
    middle, r = top + size * 0.8, size * 0.55
    at = x + r + (width - 2 * r) * float(sheet.rng.uniform(0.1, 0.95))
    thick = size * 0.16
    sheet.box((x, middle - thick, x + width, middle + thick), mix(look.back, look.ink, 0.25), None, thick)
    sheet.box((x, middle - thick, at, middle + thick), rgb, None, thick)
    sheet.disc(at, middle, r, rgb)
    sheet.add("slider", name, (x, top, x + width, top + size * 1.6), (), label, "")
    return top + size * 1.7 - y


def text_field(sheet: Sheet, x: float, y: float, width: float, label: str, hint: str, value: str) -> float:
    """A field with its label over it (or none), holding a value or else a hint; returns its height."""
    look, size = sheet.look, sheet.look.size
    name = ink_name(sheet)
    top = y
    if label:
        sheet.text(x, y + size * 0.6, label, size * 0.85, look.faint, heavy=look.design == "bootstrap")
        top += size * 1.35
    height = round(size * 2.5)
    box = (x, top, x + width, top + height)
    corner = 4 if look.design == "material" else min(look.radius(height), 8)
    if look.design == "flat":
        sheet.box(box, mix(look.back, look.ink, 0.08), None, corner)
    else:
        sheet.box(box, None, look.line, corner)
    i = sheet.add("text field", name, box, ("outlined",) if look.design != "flat" else (), label or value or hint)
    sheet.fields[i] = {"label": label, "hint": "" if value else hint, "value": value}
    ink = look.ink if value else mix(look.back, look.ink, 0.5)
    sheet.text(x + size * 0.8, top + height / 2, value or hint, size, ink, most=width - size * 1.4)
    return top + height - y


def list_item(sheet: Sheet, x: float, y: float, width: float, label: str, more: str, trail: str, style: str) -> float:
    """A row of a list, ``style`` plain, card or avatar; ``trail`` is an icon at its end or ""; returns its height."""
    look, size = sheet.look, sheet.look.size
    height = round(size * (3.6 if more else 3.0))
    box = (x, y, x + width, y + height)
    colour = "black" if look.dark else "white"
    if style == "card":
        sheet.box(box, mix(look.back, (255, 255, 255), 0.08 if look.dark else 0.9), look.line, look.radius(16))
    else:
        sheet.box((x, y + height - 1, x + width, y + height), mix(look.back, look.ink, 0.12))
    sheet.add("list item", colour, box, (), label)
    left = x + size * 0.8
    if style != "plain":
        r = size * 0.85
        sheet.disc(left + r, y + height / 2, r, mix(look.back, look.rgb, float(sheet.rng.uniform(0.15, 0.6))))
        left += 2 * r + size * 0.9
    most = x + width - left - size * 2
    middle = y + height / 2
    sheet.text(left, middle - (size * 0.6 if more else 0), label, size, look.ink, heavy=style == "card", most=most)
    if more:
        sheet.text(left, middle + size * 0.75, more, size * 0.82, look.faint, most=most)
    if trail:
        sheet.icon(trail, x + width - size * 1.2, middle, size * 0.42, look.ink)
    return height


def heading(sheet: Sheet, x: float, y: float, width: float, text: str, *, size: float, centred: bool) -> float:
    """A heading; returns its height."""
    words = sheet.text(
        x + width / 2 if centred else x, y + size * 0.8, text, size, sheet.look.ink,
        anchor="mm" if centred else "lm", heavy=True, most=width,
    )  # fmt: skip
    left = x + (width - words) / 2 if centred else x
    box = (left, y, left + words, y + size * 1.6)
    sheet.heading = sheet.add("text", ink_name(sheet), box, (), text)
    return size * 1.9


def paragraph(sheet: Sheet, x: float, y: float, width: float, text: str, *, centred: bool = False) -> float:
    """Small print, broken into lines; returns its height."""
    look, size = sheet.look, sheet.look.size * 0.85
    rows = [""]
    for word in text.split():
        longer = f"{rows[-1]} {word}".strip()
        if rows[-1] and sheet.length(longer, size) > width:
            rows.append(word)
        else:
            rows[-1] = longer
    widest = 0.0
    for k, row in enumerate(rows):
        at = (x + width / 2, "mm") if centred else (x, "lm")
        widest = max(widest, sheet.text(at[0], y + size * (0.7 + 1.4 * k), row, size, look.faint, anchor=at[1]))
    left = x + (width - widest) / 2 if centred else x
    sheet.add("text", "gray", (left, y, left + widest, y + size * 1.4 * len(rows)), (), " ".join(rows))
    return size * (1.4 * len(rows) + 0.6)
