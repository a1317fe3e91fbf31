"""World: which models there are to choose from, and which to offer when a picture is outside a small model's world."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from vlm_demo.ui.inspector.pieces import size

if TYPE_CHECKING:
    from vlm_demo import Pipeline
    from vlm_demo.contracts import View

OUTSIDE = (
    "This picture is outside what the small embedded model was trained on (drawn shapes, simple bar charts, receipts). "
    "Its answer may be a guess."
)


def hub() -> list[dict[str, Any]]:
    """The catalog's supported models that have to be fetched, smallest download first."""
    from vlm_demo.models.loading import catalog

    fetched = (entry for entry in catalog() if entry["supported"] and entry["download_bytes"])
    return sorted(fetched, key=lambda entry: entry["download_bytes"])


def choices(current: str) -> dict[str, str]:
    """Value → label of every model in the menu that writes answers: what is loaded, embedded ones, then hub models with
    their size."""
    from vlm_demo.models.loading import embedded_names

    labels = {name: f"{name} · embedded" for name in embedded_names() if writes(name)}
    labels |= {entry["id"]: f"{entry['name']} · {size(entry['download_bytes'])} download" for entry in hub()}
    return {current: current, **labels}


@cache
def writes(name: str) -> bool:
    """Whether an embedded model writes answers; others compare pictures with texts, which is not what a chat does."""
    from transformers import AutoConfig

    from vlm_demo.models.families import adapter_of
    from vlm_demo.models.loading import EMBEDDED

    return bool(adapter_of(AutoConfig.from_pretrained(EMBEDDED / name)).writes)


def outside(pipe: Pipeline, views: Sequence[View]) -> tuple[str, str] | None:
    """A sentence and a command for pictures that the model was not trained on; None where it knows their kind."""
    scores = [score for score in (pipe.in_world(view) for view in views) if score is not None]
    if not scores or min(scores) >= 0.5:
        return None
    fitting = [entry for entry in hub() if "photos" in entry["good_at"]]
    if not fitting:
        return OUTSIDE, ""
    best = fitting[0]
    offer = f"For photos: {best['name']} ({size(best['download_bytes'])} download)."
    return f"{OUTSIDE} {offer}", f'make demo ARGS="--model {best["id"]}"'
