"""Bridges: the embedded families side by side, one table: what is trained, what a picture costs, what comes of it.

Accuracies are read from the checkpoints' own ``figures.json``, measured on the same held-out items for all; the time
of an answer is measured here, all models in turn on the same questions, and given as a ratio.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from vlm_demo.contracts.engine import Engine, Request, answered
from vlm_demo.engines import local
from vlm_demo.models.loading import EMBEDDED

FAMILIES = ("blip2", "idefics", "clip")  # trained by one recipe; llava has another encoder, LLM and training
AREAS = ("scenes", "solids", "charts", "screens", "documents")
RETRIEVED = "caption of a picture, R@1"
MATCHED = "matching head, each"
DIFFERS = {
    "blip2": "its ViT is a refit of the shared encoder, for its class has no layer norm before the first layer",
    "idefics": "the class token is seen beside the patches, and pictures take no place among the words",
    "clip": "the encoder's last two layers are trained; it has a text tower and writes nothing",
}
PICTURES, QUESTION = 24, "What is in the picture?"  # whose time is taken


@dataclass(frozen=True)
class Row:
    """One family: its name, bridge in words, parameters, those trained for the bridge, image tokens of a picture (None
    where none are written from), accuracies by area, retrieval and matching, seconds of an answer."""

    name: str
    bridge: str
    parameters: int
    trained: int
    image_tokens: int | None
    accuracy: dict[str, dict[str, Any]]
    retrieved: dict[str, Any] | None
    matched: dict[str, Any] | None
    seconds: float | None


def compare(names: tuple[str, ...] = FAMILIES) -> list[Row]:
    """Load the embedded models, take their times question by question in turn, and read their figures."""
    engines = {name: local.load(name, "none", None) for name in names}
    times = _times({name: engine for name, engine in engines.items() if engine.capabilities.writes})
    return [_row(name, engine, times.get(name)) for name, engine in engines.items()]


def _times(engines: Mapping[str, Engine]) -> dict[str, tuple[float, int]]:
    """For each model the median seconds of an answer, and the image tokens of a picture."""
    from vlm_demo.training.worlds.scenes import draw_scene

    taken: dict[str, list[float]] = {name: [] for name in engines}
    tokens: dict[str, int] = {}
    for number in range(PICTURES + 1):
        rng = np.random.default_rng([1000, 96, number])
        picture = draw_scene(rng)
        for name, engine in engines.items():
            answer = answered(engine.stream(Request((picture.image,), QUESTION, max_new_tokens=8)))
            if number:  # the first one warms up
                taken[name].append(answer.timings.total)
            looks = answer.trace and answer.trace.image.shape[-1]
            tokens[name] = looks or answer.prompt.image_tokens
    return {name: (median(seconds), tokens[name]) for name, seconds in taken.items()}


def _row(name: str, engine: local.LocalEngine, timed: tuple[float, int] | None) -> Row:
    figures = json.loads((EMBEDDED / name / "figures.json").read_text(encoding="utf-8"))
    reports = figures["held_out"]
    captions = reports.get("captions", {})
    return Row(
        name,
        engine.pipeline.note.text,
        engine.parameters or 0,
        max(stage.get("trainable", 0) for stage in figures["stages"].values()),
        timed[1] if timed else None,
        {area: reports[area]["overall"] for area in AREAS if area in reports},
        next((score for title, score in captions.items() if title.startswith(RETRIEVED)), None),
        next((score for title, score in captions.items() if title.startswith(MATCHED)), None),
        timed[0] if timed else None,
    )


def table(rows: list[Row]) -> str:
    """Markdown: a line a family, and what keeps them from sharing everything."""
    heads = ("model", "bridge", "trained / all", "image tokens", *AREAS, "R@1 of 100", "ITM", "time")
    first = next((row.seconds for row in rows if row.seconds), None)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        size = f"{row.trained / 1e6:.1f} / {row.parameters / 1e6:.1f} M"
        time = f"{row.seconds / first:.2f}×" if row.seconds and first else "–"
        accuracy = [_percent(row.accuracy.get(area)) for area in AREAS]
        cells = (row.name, row.bridge, size, str(row.image_tokens or "–"), *accuracy)
        lines.append(f"| {' | '.join((*cells, _percent(row.retrieved), _percent(row.matched), time))} |")
    counts = sorted({score["n"] for row in rows for score in row.accuracy.values()})
    if counts:
        asked = f"Accuracy on held-out pictures, {counts[0]} to {counts[-1]} questions an area, intervals in the cards."
        lines += ["", asked, "Time: the median of an answer, on one machine in one run, against the first row."]
    return "\n".join([*lines, "", *(f"- {row.name}: {DIFFERS[row.name]}." for row in rows if row.name in DIFFERS)])


def _percent(score: dict[str, Any] | None) -> str:
    return f"{score['accuracy']:.0%}" if score and score["n"] else "–"
