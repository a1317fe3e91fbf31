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
FEW = 0.1  # of a model's bytes; to save less is little
EVEN = 1.1  # times of less than this ratio are taken as equal
PRECISIONS = {"none": "full precision", "8bit": "8-bit", "4bit": "4-bit"}
ONLY_OPERATOR = "Only the operator can switch, from the machine that runs the model."
SERVED = "the server's choice"
SWITCHED = "The operator has switched the model: from now on {} answers."


@dataclass(frozen=True)
class Choice:
    """One line of a menu; ``closed`` says why it can't be chosen, or nothing."""

    label: str
    closed: str = ""


def tabs(names: Sequence[str]) -> Markup:
    """Links to the page's tabs, the first of which a page opens with. The one that is open stands in the address, as
    ``#contrast``; page.js shows it."""
    return render("tabs", names=names) if len(names) > 1 else Markup()


def chips(
    status: Status,
    model: str,
    quantize: str,
    models: dict[str, Choice],
    precisions: dict[str, Choice],
    operator: bool,
) -> Markup:
    """Two menus that say what is loaded and what it costs in memory.

    Args:
        models, precisions: value → choice of everything that there is.
        operator: whether this page may switch; others see disabled menus of what is loaded, without the folder or the
            hub id that stands for it.
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
    """The precisions, each with what was measured of it here.

    Args:
        quantize: what is loaded.
        measured: precision → what it costs, as far as that is known.
        closed: precision → why it can't be had.
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
    """What packing brought on this machine: its pace, where it was measured often enough and each answer of one was
    faster than each of the other, and whether it is hardly smaller."""
    said = []
    saved = plain.parameter_bytes - packed.parameter_bytes
    if 0 < saved < FEW * plain.parameter_bytes:
        said.append(f"saves only {size(saved)}")
    pace = "" if packed is plain else _pace(plain, packed)
    return ", ".join(filter(None, (pace, *said)))


def _pace(plain: Measured, packed: Measured) -> str:
    if not (plain.seconds and plain.fastest and plain.slowest and packed.seconds and packed.fastest and packed.slowest):
        return ""
    ratio = packed.seconds / plain.seconds
    if max(ratio, 1 / ratio) < EVEN:
        return "no faster here"
    if packed.fastest > plain.slowest:
        return f"{ratio:.1f}× slower here"
    return f"{1 / ratio:.1f}× faster here" if packed.slowest < plain.fastest else ""


def served(status: Status) -> str:
    """The model in service and its precision."""
    return f"{status.name}, {status.precision}"


def notice(status: Status, sentence: str = "", alert: bool = True) -> Markup:
    """One line under the header: a loading and its progress, or a sentence, of something wrong or not; empty when all
    is quiet."""
    if status.busy:
        fraction = "" if status.fraction is None else f"{status.fraction:.3f}"
        return render("loading", sentence=status.busy, fraction=fraction)
    if sentence and not alert:
        return render("told", sentence=sentence)
    sentence = sentence or status.problem
    return problem(sentence) if sentence else Markup()


def short(count: int) -> str:
    """How many parameters, as people say it."""
    for scale, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= scale:
            return f"{count / scale:.{int(unit == 'B')}f}{unit}"
    return str(count)
