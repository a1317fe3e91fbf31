"""Checks: the checklist of an answer, as five dots under it and as a panel with what was measured and what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass

from markupsafe import Markup

from vlm_demo.checks import checklist
from vlm_demo.contracts import Check
from vlm_demo.contracts.checks import FAIL, HALLUCINATION, IMAGE_TOKENS, LATENCY, OPEN, PASS, PRESSES, WARN
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.inspect.panels import picture_costs_table
from vlm_demo.ui.tabs.inspect.panels.html_pieces import nothing

SIGNS = {PASS: "●", WARN: "◐", FAIL: "⊠", OPEN: "◌"}
STRONG, WEAK, REST = "strong", "weak", "rest"

Strip = list[tuple[str, str]]


@dataclass(frozen=True)
class CheckRow:
    """One check as the panel shows it.

    Attributes:
        sign: its verdict's shape.
        open: whether it is unfolded.
        first: whether its remedy is the panel's one filled button.
        press: its button's label; empty = it has none.
        value: what a press sends, as JSON.
        blank: whether a blank picture can still be asked about; ``asking``: whether it is being asked about.
        strip: parts of a bar, each (colour class, share); ``keys`` are shown below it.
    """

    check: Check
    sign: str
    open: bool
    first: bool
    press: str
    value: str
    blank: bool
    asking: bool
    strip: Strip
    keys: list[str]


def draw(exchange: ChatTurn | None) -> Markup:
    """The checklist: its headline, then each check with its values, why, and what to do."""
    if not exchange or not exchange.answer or not exchange.answer.checks:
        return nothing("Here stands what may be wrong with an answer: five checks, each with what to do.")
    checks = exchange.answer.checks
    pending = exchange.state == "done" and not exchange.checked
    first = checklist.worst([check for check in checks if check.press])
    return render(
        "checks",
        headline=checklist.headline(checks),
        counted=checklist.counted(checks),
        replayed=exchange.replayed,
        pending=pending,
        rows=[_row(check, check is first, bool(exchange.blank)) for check in checks],
        answer=exchange.ticket,
        costs=picture_costs_table.table(exchange),
    )


def dots(exchange: ChatTurn) -> Markup:
    """Five dots, one for each check, always in the same order; empty where nothing was checked."""
    if not exchange.answer or not exchange.answer.checks:
        return Markup()
    checks = exchange.answer.checks
    return render("dots", headline=checklist.headline(checks), dots=[(SIGNS[check.verdict], check) for check in checks])


def remedy(exchange: ChatTurn, turn: int) -> Markup:
    """What to do about a failed check, shown under the answer; empty where none failed."""
    checks = exchange.answer.checks if exchange.answer else ()
    failed = next((check for check in checks if check.verdict == FAIL and check.press), None)
    if failed is None:
        return Markup()
    value = json.dumps({"press": failed.press, "turn": turn})
    return render("remedy", why=failed.why, press=PRESSES[failed.press], value=value)


def _row(check: Check, first: bool, asking: bool) -> CheckRow:
    strip, keys = STRIPS.get(check.name, lambda _: ([], []))(check)
    return CheckRow(
        check=check,
        sign=SIGNS[check.verdict],
        open=check.verdict != PASS,
        first=first,
        press=PRESSES.get(check.press, ""),
        value=json.dumps({"press": check.press}),
        blank=check.name == HALLUCINATION and check.values.get("blank_answer") is None,
        asking=asking,
        strip=strip,
        keys=keys,
    )


def _number(check: Check, name: str) -> float:
    value = check.values.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _placed(check: Check) -> tuple[Strip, list[str]]:
    """The prompt with its image tokens."""
    if check.values.get("first") is None:
        return [], []
    before, last, length = (_number(check, name) for name in ("first", "last", "prompt_tokens"))
    parts = [before, last + 1 - before, length - last - 1]
    keys = [f"{parts[0]:.0f} before", f"{check.values['placeholders']} image", f"{parts[2]:.0f} after"]
    return _strip(parts, (WEAK, STRONG, WEAK)), keys


def _likely(check: Check) -> tuple[Strip, list[str]]:
    """The answer's probability without the picture as a part of that with it."""
    if check.values.get("with_blank") is None:
        return [], []
    without, with_picture = _number(check, "with_blank"), _number(check, "with_picture")
    more = max(0.0, with_picture - without)
    strip = _strip([without, more, max(0.0, 1 - without - more)], (WEAK, STRONG, REST))
    return strip, [f"blank picture {without:.2f}", f"with the picture {with_picture:.2f}"]


def _spent(check: Check) -> tuple[Strip, list[str]]:
    """Where the time went."""
    encoding, reading, writing = (_number(check, name) for name in ("encoder", "prefill", "decode"))
    keys = [f"encoding {encoding:.2f} s", f"reading {reading:.2f} s", f"writing {writing:.2f} s"]
    rest = max(0.0, _number(check, "total") - encoding - reading - writing)
    return _strip([encoding, reading, writing, rest], (WEAK, STRONG, WEAK, REST)), keys


def _strip(parts: list[float], kinds: tuple[str, ...]) -> Strip:
    whole = sum(parts) or 1.0
    return [(kind, f"{part / whole:.4f}") for kind, part in zip(kinds, parts, strict=True)]


STRIPS = {IMAGE_TOKENS: _placed, HALLUCINATION: _likely, LATENCY: _spent}
