"""World: which models there are to choose from, and which to offer when a picture is outside a small model's world."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from vlm_demo.ui.components.header import Choice
from vlm_demo.ui.tabs.inspect.panels.html_pieces import size

if TYPE_CHECKING:
    from vlm_demo import Pipeline
    from vlm_demo.contracts import View
    from vlm_demo.models.catalog import Entry

OUTSIDE = (
    "This picture is outside what the small embedded model was trained on (drawn shapes, solids, charts, screens, "
    "documents). Its answer may be a guess."
)


def hub() -> list[Entry]:
    """The catalog's models that have to be fetched and write answers, smallest download first."""
    from vlm_demo.models.loading import catalog

    fetched = (entry for entry in catalog() if entry.on_hub and _family(entry.family).writes)
    return sorted(fetched, key=lambda entry: entry.download_bytes)


def choices(current: str, quantize: str, device: str) -> dict[str, Choice]:
    """Value → choice of every model in the menu that writes answers: what is loaded, embedded ones, then hub models
    with their size, closed where they do not fit.

    Args:
        quantize: the precision in which the next one would be loaded.
        device: on which; what is loaded stays there until the next one is ready, so its memory is not counted as free.
    """
    from vlm_demo.models.loading import embedded_names

    labels = {name: Choice(f"{name} · embedded") for name in embedded_names() if writes(name)}
    room = _room(device)
    labels |= {entry.id: _offered(entry, quantize, room) for entry in hub()}
    return {current: Choice(current), **labels}


def _offered(entry: Entry, quantize: str, room: int) -> Choice:
    from vlm_demo.models.catalog import fits

    label = f"{entry.name} · {size(entry.download_bytes)} download"
    if entry.gated:
        label += ", licence to accept"
    needed = entry.needs(quantize) or 0
    if fits(needed, room):
        return Choice(label)
    smaller = entry.needs("4bit")
    way_out = "; fits in 4-bit" if quantize != "4bit" and smaller and fits(smaller, room) else ""
    return Choice(label, f"needs {size(needed)}, {size(room)} free{way_out}")


def unquantizable() -> dict[str, str]:
    """Precision → why it can't be had; nothing where all can."""
    from vlm_demo.models import quantization

    missing = quantization.missing()
    return {name: f"needs {missing}" for name in quantization.PRECISIONS[1:]} if missing else {}


def _room(device: str) -> int:
    import torch

    from vlm_demo.models.quantization import room_on

    return room_on(torch.device(device))


@cache
def _family(name: str) -> Any:
    """The adapter's class of a family."""
    from importlib import import_module

    from vlm_demo.models.adapters import ADAPTERS

    own = next(adapter for module, adapter in ADAPTERS.values() if module == name)
    return getattr(import_module(f"vlm_demo.models.adapters.{name}"), own)


@cache
def writes(name: str) -> bool:
    """Whether an embedded model writes answers; others compare pictures with texts, which is not what a chat does."""
    from transformers import AutoConfig

    from vlm_demo.models.adapters import adapter_of
    from vlm_demo.models.loading import checkpoint, family_of

    family = family_of(name)  # known before the checkpoint is put together
    adapter = _family(family) if family else adapter_of(AutoConfig.from_pretrained(checkpoint(name)))
    return bool(adapter.writes)


def outside(pipe: Pipeline, views: Sequence[View]) -> tuple[str, str] | None:
    """A sentence and a command for pictures that the model was not trained on; None where it knows their kind."""
    scores = [score for score in (pipe.in_world(view) for view in views) if score is not None]
    if not scores or min(scores) >= 0.5:
        return None
    fitting = [entry for entry in hub() if "photos" in entry.good_at]
    if not fitting:
        return OUTSIDE, ""
    best = fitting[0]
    offer = f"For photos: {best.name} ({size(best.download_bytes)} download)."
    return f"{OUTSIDE} {offer}", f'make demo ARGS="--model {best.id}"'
