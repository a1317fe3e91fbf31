"""Picture costs: what the shown picture would cost the models of the catalog, as rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from vlm_demo.engines import picture_costs
from vlm_demo.engines.picture_costs import PictureCost
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.tabs.inspect.panels.html_pieces import percent, size


@dataclass(frozen=True)
class CostRow:
    """One model.

    Attributes:
        cells: image tokens, their share of its context, memory as stored and in 4 bit; empty = it refuses the picture.
        refused: why.
    """

    name: str
    cells: tuple[str, ...]
    refused: str = ""


@dataclass(frozen=True)
class CostTable:
    """The table for a picture; ``size``: the picture's, as text."""

    size: str
    rows: tuple[CostRow, ...]


def table(exchange: ChatTurn) -> CostTable | None:
    """The table for the answer's first picture; None where it has none."""
    if not exchange.sizes:
        return None
    return _of(*exchange.sizes[0])


@lru_cache(maxsize=32)
def _of(width: int, height: int) -> CostTable:
    return CostTable(f"{width} × {height}", tuple(_row(cost) for cost in picture_costs.costs((width, height))))


def _row(cost: PictureCost) -> CostRow:
    if cost.image_tokens is None or cost.of_context is None:
        return CostRow(cost.name, (), "too elongated for it")
    share = "1 token" if cost.cross_attention else percent(cost.of_context)
    return CostRow(
        cost.name, (f"{cost.image_tokens:,}", share, _memory(cost.memory_bytes), _memory(cost.memory_bytes_4bit))
    )


def _memory(count: int | None) -> str:
    return "–" if count is None else size(count)
