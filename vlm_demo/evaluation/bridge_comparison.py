"""Bridges: the embedded families compared on the same pictures: what is trained, what a picture costs, how good the
answers are, and what that shows about vision encoder, bridge and language model.

Every model is asked the same items; the time to the first token is measured of all in turn, question by question.
Models that score are asked which of the captions belongs to a picture.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from vlm_demo.contracts import Answer
from vlm_demo.contracts.engine import Engine, MeasurableEngine, Request, answered
from vlm_demo.engines import local, shipped_recipes
from vlm_demo.errors import ModelNotFound
from vlm_demo.evaluation.items import Item
from vlm_demo.evaluation.report import Score, paired
from vlm_demo.evaluation.run import LastPicture, evaluate

FAMILIES = ("llava", "llava-vit", "blip2", "idefics", "clip")
TIMED = 12  # questions whose time to the first token is taken, after one that warms up
CANDIDATES = 100  # captions among which a model that scores has to find the picture's
# Pairs of models that differ in one thing, and what that is.
PAIRS = (
    ("llava", "llava-vit", "another vision encoder"),
    ("llava", "blip2", "a Q-Former for the projector, and a language model that stays as it was"),
    ("llava", "idefics", "gated cross-attention for the projector, and a language model that stays as it was"),
)


@dataclass(frozen=True)
class BridgeRow:
    """One family.

    Attributes:
        name, bridge: of the model, and of its bridge in words.
        encoder: the vision tower's name among ``models.parts.PARTS``.
        parameters, trained: all of the model's, and those that this project trained.
        image_tokens: what a picture takes in the language model's context, or the patches that it attends to next to
            its text; None where the model does not write.
        kinds: a score for each kind of question.
        cider: CIDEr-D of the captions, None without.
        retrieved: pictures for which their own caption came first of the candidates; None where the model can't score.
        first_token: median seconds to the first token; None where the model does not write.
        right: for each line of the items that were asked, whether the answer was right.
    """

    name: str
    bridge: str
    encoder: str
    parameters: int
    trained: int
    image_tokens: int | None = None
    kinds: Mapping[str, Score] = field(default_factory=dict)
    cider: float | None = None
    retrieved: Score | None = None
    first_token: float | None = None
    right: Mapping[int, bool] = field(default_factory=dict)

    @property
    def overall(self) -> Score:
        return Score(len(self.right), sum(self.right.values()))


def comparable() -> tuple[str, ...]:
    """The families that are shipped as a recipe of the same pretrained parts."""
    return tuple(name for name in FAMILIES if shipped_recipes.is_shipped(name))


def compare(folder: Path, items: Sequence[Item], names: Sequence[str]) -> list[BridgeRow]:
    """Load the embedded models, ask each every item, and measure their times.

    Args:
        folder: what the items' image paths are relative to.
        items: see ``items.read``; those with captions are also what models that score are measured on.
        names: of embedded models, see ``comparable``.
    Raises:
        ModelNotFound: one is not among these.
    """
    unknown = [name for name in names if name not in comparable()]
    if unknown:
        raise ModelNotFound(
            f"{', '.join(unknown)} can't be compared, for it is not put together from the same pretrained parts as the "
            f"others: choose among {', '.join(comparable())}."
        )
    engines = {name: local.load(name, "none", None) for name in names}
    times = first_tokens(
        {name: engine for name, engine in engines.items() if engine.capabilities.writes}, folder, items
    )
    return [_row(name, engine, folder, items, times.get(name)) for name, engine in engines.items()]


def first_tokens(engines: Mapping[str, Engine], folder: Path, items: Sequence[Item]) -> dict[str, float]:
    """For each model the median seconds to the first token, of pictures that it has not seen before."""
    pictures = LastPicture(folder)
    timed = list({item.image: item for item in items}.values())[: TIMED + 1]
    seconds_of: dict[str, list[float]] = {name: [] for name in engines}
    for number, item in enumerate(timed):
        picture = pictures.open(item.image)
        for name, engine in engines.items():
            seconds = _first_token(engine, picture, item).timings.first_token
            if number or len(timed) == 1:
                seconds_of[name].append(seconds)
    return {name: median(seconds) for name, seconds in seconds_of.items() if seconds}


def _first_token(engine: Engine, picture: Image.Image, item: Item) -> Answer:
    return answered(engine.stream(Request((picture,), item.question, max_new_tokens=1)))


def _row(
    name: str, engine: MeasurableEngine, folder: Path, items: Sequence[Item], first_token: float | None
) -> BridgeRow:
    recipe = shipped_recipes.recipe_of(name)
    row: dict[str, Any] = {"first_token": first_token}
    if engine.capabilities.writes:
        lines = io.StringIO()
        report = evaluate(engine, folder, items, answers=lines)
        records = [json.loads(line) for line in lines.getvalue().splitlines()]
        row["right"] = {record["line"]: record["right"] for record in records if "right" in record}
        row["kinds"] = {kind: score for kind, score in report.kinds.items() if score.n}
        row["cider"] = report.as_dict()["cider"]["overall"]["cider"]
        row["image_tokens"] = _image_tokens(engine, folder, items[0])
    if engine.capabilities.scores:
        row["retrieved"] = retrieved(engine, folder, items)
    bridge, parameters = engine.bridge, engine.parameters or 0
    return BridgeRow(name, bridge, recipe.vision_tower, parameters, recipe.trained, **row)


def _image_tokens(engine: Engine, folder: Path, item: Item) -> int:
    answer = _first_token(engine, LastPicture(folder).open(item.image), item)
    return answer.trace.image.shape[-1] if answer.trace else answer.prompt.image_tokens


def retrieved(engine: Engine, folder: Path, items: Sequence[Item]) -> Score | None:
    """Pictures for which their own first caption is the most similar of up to CANDIDATES; None without captions."""
    captioned = [item for item in {item.image: item for item in items if item.captions}.values()]
    found, pictures = Score(), LastPicture(folder)
    for start in range(0, len(captioned), CANDIDATES):
        group = captioned[start : start + CANDIDATES]
        if start and len(group) < CANDIDATES:
            break  # it would be easier
        captions = [item.captions[0] for item in group]
        for item in group:
            scores = engine.score(pictures.open(item.image), captions)
            found.add(captions[int(np.argmax(scores.similarities))] == item.captions[0])
    return found if found.n else None


def difference(one: BridgeRow, other: BridgeRow) -> tuple[float, float, float]:
    """How much more often ``other`` is right than ``one``; see ``report.paired``."""
    return paired(one.right, other.right)


def findings(rows: Sequence[BridgeRow]) -> list[str]:
    """A sentence for each of PAIRS that is among the rows."""
    by_name = {row.name: row for row in rows}
    sentences = []
    for first, second, changed in PAIRS:
        if first not in by_name or second not in by_name or not by_name[first].right:
            continue
        mean, low, high = difference(by_name[first], by_name[second])
        verdict = "better" if low > 0 else "worse" if high < 0 else "not clearly different"
        sentences.append(
            f"{second} is {first} with {changed}: {100 * mean:+.0f} points "
            f"({100 * low:+.0f} to {100 * high:+.0f}) of {len(by_name[first].right)} answers, {verdict}."
        )
    return sentences


def table(rows: Sequence[BridgeRow]) -> str:
    """Markdown: a line a family, and what the differences between them show."""
    kinds = sorted({kind for row in rows for kind in row.kinds})
    heads = (
        "model",
        "encoder",
        "bridge",
        "trained / all",
        "image tokens",
        *kinds,
        "all",
        "CIDEr-D",
        "R@1",
        "first token",
    )
    fastest = next((row.first_token for row in rows if row.first_token), None)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = (
            row.name,
            row.encoder,
            row.bridge,
            f"{row.trained / 1e6:.1f} / {row.parameters / 1e6:.1f} M",
            str(row.image_tokens or "–"),
            *(_percent(row.kinds.get(kind)) for kind in kinds),
            _percent(row.overall),
            "–" if row.cider is None else f"{row.cider:.0f}",
            _percent(row.retrieved),
            f"{row.first_token / fastest:.2f}×" if row.first_token and fastest else "–",
        )
        lines.append(f"| {' | '.join(cells)} |")
    counts_by_kind = [f"{kind} {max(row.kinds[kind].n for row in rows if kind in row.kinds)}" for kind in kinds]
    counts = f"Questions: {', '.join(counts_by_kind)}; the same for all. " if counts_by_kind else ""
    scored = max((row.retrieved.n for row in rows if row.retrieved), default=0)
    retrieval_note = f"R@1: a picture's own caption first among {min(scored, CANDIDATES)}. " if scored else ""
    timing_note = "First token: the median of pictures not seen before, against the first row, all in turn in one run."
    return "\n".join(
        [*lines, "", f"{counts}{retrieval_note}{timing_note}", "", *(f"- {line}" for line in findings(rows))]
    )


def _percent(score: Score | None) -> str:
    return f"{score.right / score.n:.0%}" if score and score.n else "–"
