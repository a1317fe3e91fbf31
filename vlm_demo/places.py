"""Places: where the models and example pictures lie that come with this project. Knows nothing of what is in them."""

from __future__ import annotations

from pathlib import Path


def assets() -> Path:
    """The folder: beside the package in a clone, inside it where it was installed."""
    package = Path(__file__).parent
    inside = package / "assets"
    return inside if inside.is_dir() else package.parent / "assets"
