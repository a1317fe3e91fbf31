"""World: which models there are to choose from, and which to offer when a picture is outside a small model's world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vlm_demo.ui.inspector import size

if TYPE_CHECKING:
    from vlm_demo import Pipeline
    from vlm_demo.contracts import View

OUTSIDE = (
    "This picture is outside what the small embedded model was trained on (drawn shapes, simple bar charts, receipts). "
    "Its answer may be a guess."
)


def hub() -> list[dict[str, Any]]:
    """The catalog's supported hub models, smallest download first."""
    from vlm_demo.models.loading import catalog

    return sorted((entry for entry in catalog() if entry.get("supported")), key=lambda entry: entry["bytes"])


def choices(current: str) -> dict[str, str]:
    """Value → label of every model in the menu: what is loaded, embedded ones, then hub models with their size."""
    from vlm_demo.models.loading import embedded_names

    labels = {name: f"{name} · embedded" for name in embedded_names()}
    labels |= {entry["id"]: f"{entry['id']} · {size(entry['bytes'])} download" for entry in hub()}
    return {current: current, **labels}


def outside(pipe: Pipeline, views: Sequence[View]) -> tuple[str, str] | None:
    """A sentence and a command for pictures that the model was not trained on; None where it knows their kind."""
    scores = [score for score in (pipe.in_world(view) for view in views) if score is not None]
    if not scores or min(scores) >= 0.5:
        return None
    if not (models := hub()):
        return OUTSIDE, ""
    best = models[0]
    return (
        f"{OUTSIDE} For photos: {best['id']} ({size(best['bytes'])} download).",
        f"python app.py --model {best['id']}",
    )
