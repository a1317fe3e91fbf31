"""Documents: receipts, invoices, letters, tables and forms, drawn by seed."""

from __future__ import annotations

import numpy as np

from vlm_demo.training.worlds.forms import draw_form
from vlm_demo.training.worlds.invoices import draw_invoice
from vlm_demo.training.worlds.letters import draw_letter
from vlm_demo.training.worlds.receipts import draw_receipt
from vlm_demo.training.worlds.tables import draw_table
from vlm_demo.training.worlds.world import Picture

_SORTS = (draw_receipt, draw_invoice, draw_letter, draw_table, draw_form)
_SHARES = (0.5, 0.17, 0.11, 0.11, 0.11)


def draw_document(rng: np.random.Generator, held_out: bool = False) -> Picture:
    """A document of any sort; ``facts["type"]`` names it. ``held_out`` prints it in the typeface not trained on."""
    return _SORTS[int(rng.choice(len(_SORTS), p=_SHARES))](rng, held_out)
