"""Shipped: where the files lie that come with the project, ``models`` and ``examples``.

In a clone they are in its folder ``assets``, where people find them; an installed package holds them itself.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

PACKAGE = Path(str(files("vlm_demo")))
ASSETS = "assets"


def folder(name: str) -> Path:
    """The folder of this name, which need not be there: a package may be built without the models."""
    inside = PACKAGE / ASSETS
    return (inside if inside.is_dir() else PACKAGE.parent / ASSETS) / name
