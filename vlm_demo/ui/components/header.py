"""Header: the service's status → the product's name, the model and precision chips, and the notice line, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vlm_demo.contracts.engine import ELSEWHERE
from vlm_demo.engines.registry import Measured, Status
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.inspect.panels.html_pieces import problem, size

BRAND = render("brand")
MIN_SAVING = 0.1  # of a model's bytes; a smaller saving is remarked on
MIN_SPEED_RATIO = 1.1  # times within this ratio count as equal
PRECISIONS = {"none": "full precision", "8bit": "8-bit", "4bit": "4-bit"}
ONLY_OPERATOR = "Only the operator can switch, from the machine that runs the model."
SERVED = "the server's choice"
SWITCHED = "The operator has switched the model: from now on {} answers."


@dataclass(frozen=True)
class Choice:
    """One line of a menu; ``closed``: why it can't be chosen, or empty."""

    label: str
    closed: str = ""


def tabs(names: Sequence[str]) -> Markup:
    """Links to the page's tabs, of which the first is open initially. The open tab is in the address, as ``#contrast``;
    page.js shows it."""
    return render("tabs", names=names) if len(names) > 1 else Markup()


def chips(
    status: Status,
    model: str,
    quantize: str,
    models: dict[str, Choice],
    precisions: dict[str, Choice],
    operator: bool,
) -> Markup:
    """Two menus that show what is loaded and its memory.

    Args:
        models, precisions: value → choice of everything that there is.
        operator: whether this page may switch; others see disabled menus of what is loaded, without its folder.
    """
    count = f" · {short(status.parameters)}" if status.parameters else ""
    where = "on this machine" if status.device.startswith("cpu") else f"on {status.device}"
    labels = {**models, model: Choice(f"{status.name}{count} · {where}")}
    if not operator:
        model, labels = "", {"": labels[model]}
    closed = not operator or bool(status.busy)
    menus = [("Model", "model", model, labels), ("Precision", "quantize", quantize, precisions)]
    return render("chips", menus=menus, closed=closed, hint="" if operator else ONLY_OPERATOR)


def precisions(
    quantize: str, status: Status, measured: Mapping[str, Measured], closed: Mapping[str, str]
) -> dict[str, Choice]:
    """The precisions, each with its measurements on this machine.

    Args:
        quantize: what is loaded.
        measured: precision → its cost, as far as known.
        closed: precision → why it is unavailable.
    """
    found = {}
    elsewhere = status.device == ELSEWHERE
    for name, label in PRECISIONS.items():
        if elsewhere:  # what is measured here is the memory of another model, if any
            found[name] = Choice(status.precision) if name == quantize else Choice(label, SERVED)
            continue
        if name == quantize and status.precision:
            label = f"{status.precision if name == 'none' else label} · {size(status.parameter_bytes)}"
        elif name in measured:
            label = f"{label} · {size(measured[name].parameter_bytes)}"
        remark = compared(measured["none"], measured[name]) if {"none", name} <= measured.keys() else ""
        found[name] = Choice(
            f"{label} · {remark}" if remark else label, "" if name == quantize else closed.get(name, "")
        )
    return found


def compared(plain: Measured, packed: Measured) -> str:
    """The effect of quantization on this machine: its speed, where measured often enough and each answer of one was
    faster than each of the other, and whether it saves little memory."""
    remarks = []
    saved = plain.parameter_bytes - packed.parameter_bytes
    if 0 < saved < MIN_SAVING * plain.parameter_bytes:
        remarks.append(f"saves only {size(saved)}")
    pace = "" if packed is plain else _pace(plain, packed)
    return ", ".join(filter(None, (pace, *remarks)))


def _pace(plain: Measured, packed: Measured) -> str:
    if not (plain.seconds and plain.fastest and plain.slowest and packed.seconds and packed.fastest and packed.slowest):
        return ""
    ratio = packed.seconds / plain.seconds
    if max(ratio, 1 / ratio) < MIN_SPEED_RATIO:
        return "no faster here"
    if packed.fastest > plain.slowest:
        return f"{ratio:.1f}× slower here"
    return f"{1 / ratio:.1f}× faster here" if packed.slowest < plain.fastest else ""


def served(status: Status) -> str:
    """The model in service and its precision."""
    return f"{status.name}, {status.precision}"


def notice(status: Status, sentence: str = "", alert: bool = True) -> Markup:
    """One line under the header: the progress of loading, or a notice, alerting or not; else empty."""
    if status.busy:
        fraction = "" if status.fraction is None else f"{status.fraction:.3f}"
        return render("loading", sentence=status.busy, fraction=fraction)
    if sentence and not alert:
        return render("notice", sentence=sentence)
    sentence = sentence or status.problem
    return problem(sentence) if sentence else Markup()


def short(count: int) -> str:
    """A number of parameters, e.g. ``1.5B``."""
    for scale, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= scale:
            return f"{count / scale:.{int(unit == 'B')}f}{unit}"
    return str(count)
