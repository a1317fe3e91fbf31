"""Checkpoint settings: a checkpoint's ``vlm_demo.json``, part by part: how its heatmaps are made, the
weights of the evidence for its answers, how small it reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vlm_demo.contracts.attention import HeatmapSettings
from vlm_demo.errors import UnsupportedModel, VlmDemoError

SETTINGS_FILE = "vlm_demo.json"
METHODS = ("mean", "localised", "last", "heads", "weighted")  # of joining layers and heads
# What a checkpoint may name as its default heatmap: maps of recorded rows, which cost nothing.
DEFAULTS = ("raw", *METHODS, "queries")

Part = TypeVar("Part")


def read_part(folder: Path, name: str, read: Callable[[Any], Part]) -> Part | None:
    """One part of the checkpoint's file, as ``read`` understands it; None where there is none.

    Raises:
        UnsupportedModel: it is there and can't be understood.
    """
    file = folder / SETTINGS_FILE
    if not file.is_file():
        return None
    try:
        part = json.loads(file.read_text(encoding="utf-8")).get(name)
        return None if part is None else read(part)
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise UnsupportedModel(f"The {name} in {file.name} of this checkpoint cannot be read: mend it.") from error


def write_part(folder: Path, name: str, part: dict[str, Any]) -> Path:
    """Put one part into the checkpoint's file; what else that holds stays. Returns the file.

    Raises:
        VlmDemoError: it can't be written.
    """
    file = folder / SETTINGS_FILE
    parts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    try:
        file.write_text(json.dumps(parts | {name: part}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise VlmDemoError(f"{file} can't be written: give --model a folder of your own, see export.") from error
    return file


def read_settings(folder: Path) -> HeatmapSettings:
    """How the checkpoint's heatmaps are made; defaults where its file sets nothing.

    Raises:
        UnsupportedModel: its file can't be understood, or names what there is not.
    """
    settings = read_part(folder, "heatmap", _settings) or HeatmapSettings()
    if settings.method not in DEFAULTS:
        raise UnsupportedModel(
            f"{SETTINGS_FILE} names the method {settings.method}: choose one of {', '.join(DEFAULTS)}."
        )
    given = np.array([weight for layer in settings.weights for weight in layer])
    if len({len(layer) for layer in settings.weights}) > 1 or not np.isfinite(given).all():
        raise UnsupportedModel(f"{SETTINGS_FILE} has weights that are no table of numbers: mend or delete it.")
    return settings


def _settings(part: dict[str, Any]) -> HeatmapSettings:
    method = part.get("method", "mean")
    layers = part.get("layers")
    return HeatmapSettings(
        method="mean" if method == "layer_mean" else method,
        layers=None if layers is None else tuple(int(layer) for layer in layers),
        heads=tuple((int(layer), int(head)) for layer, head in part.get("heads", ())),
        scores={str(name): float(score) for name, score in part.get("scores", {}).items()},
        scored=int(part.get("scored", 0)),
        weights=tuple(tuple(float(weight) for weight in layer) for layer in part.get("weights", ())),
    )


def write_settings(folder: Path, settings: HeatmapSettings) -> Path:
    """Put the settings into the checkpoint's file; what else it holds stays. Returns the file.

    Raises:
        UnsupportedModel: the file is there and can't be understood.
    """
    read_settings(folder)
    part: dict[str, Any] = {"method": settings.method}
    part |= {"layers": settings.layers} if settings.layers is not None else {}
    part |= {"heads": settings.heads} if settings.heads else {}
    part |= {"weights": settings.weights} if settings.weights else {}
    part |= {"scores": settings.scores, "scored": settings.scored} if settings.scores else {}
    return write_part(folder, "heatmap", part)
