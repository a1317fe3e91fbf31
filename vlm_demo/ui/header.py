"""Header: the service's status → the product's name, the model and precision chips, and the notice line, as HTML."""

from __future__ import annotations

from html import escape

from vlm_demo.ui.inspector.pieces import size
from vlm_demo.ui.service import Status

BRAND = '<h1>vlm_demo</h1><p class="muted">ask a picture, see inside the answer</p>'
PRECISIONS = {"none": "full precision", "8bit": "8-bit", "4bit": "4-bit"}
ONLY_OPERATOR = "Only the operator can switch, from the machine that runs the model."


def chips(status: Status, model: str, quantize: str, models: dict[str, str], operator: bool) -> str:
    """Two menus that say what is loaded and what it costs in memory.

    Args:
        models: value → label of every model that can be chosen.
        operator: whether this page may switch; for others the menus are shown but disabled.
    """
    count = f" · {_short(status.parameters)}" if status.parameters else ""
    where = "on this machine" if status.device.startswith("cpu") else f"on {status.device}"
    labels = {**models, model: f"{status.name}{count} · {where}"}
    loaded = PRECISIONS[quantize] if quantize != "none" else status.precision
    precisions = {**PRECISIONS, quantize: f"{loaded} · {size(status.parameter_bytes)}"}
    closed = not operator or bool(status.busy)
    hint = "" if operator else ONLY_OPERATOR
    return _menu("Model", "model", model, labels, closed, hint) + _menu(
        "Precision", "quantize", quantize, precisions, closed, hint
    )


def notice(status: Status, sentence: str = "") -> str:
    """One line under the header: a switch and its progress, or a sentence for this page; empty when all is quiet."""
    if status.busy:
        value = "" if status.fraction is None else f' value="{status.fraction:.3f}"'
        return f'<p role="status">{escape(status.busy)}</p><progress max="1"{value} aria-label="Loading"></progress>'
    return f'<p class="problem" role="alert">{escape(sentence)}</p>' if sentence else ""


def _menu(label: str, name: str, value: str, options: dict[str, str], disabled: bool, hint: str) -> str:
    items = "".join(
        f'<option value="{escape(key)}"{" selected" * (key == value)}>{escape(text)}</option>'
        for key, text in options.items()
    )
    return (
        f'<label class="chip" title="{escape(hint or label)}"><select data-act="switch" name="{name}" '
        f'aria-label="{label}" data-value="{escape(value)}"{" disabled" * disabled}>{items}</select></label>'
    )


def _short(count: int) -> str:
    for scale, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= scale:
            return f"{count / scale:.{int(unit == 'B')}f}{unit}"
    return str(count)
