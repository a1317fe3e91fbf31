"""Bridges: the embedded families side by side on the same pictures: what is trained, what a picture costs, what comes
of it, and what that shows about vision encoder, bridge and language model.

Every model is asked the same items; the time to the first token is taken of all in turn, question by question. Models
that score are asked which of the captions belongs to a picture.
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
from vlm_demo.contracts.engine import Engine, Request, answered
from vlm_demo.engines import local, shipped_recipes
from vlm_demo.errors import ModelNotFound
from vlm_demo.evaluation.items import Item
from vlm_demo.evaluation.report import Score, paired
from vlm_demo.evaluation.run import LastPicture, evaluate

FAMILIES = ("llava", "llava-vit", "blip2", "idefics", "clip")
TIMED = 12  # questions whose time to the first token is taken, after one that warms up
SHEET = 100  # captions among which a model that scores has to find a picture's own
# Pairs of models that differ in one thing, and what that is.
PAIRS = (
    ("llava", "llava-vit", "another vision encoder"),
    ("llava", "blip2", "a Q-Former for the projector, and a language model that stays as it was"),
    ("llava", "idefics", "gated cross-attention for the projector, and a language model that stays as it was"),
)


@dataclass(frozen=True)
class Row:
    """One family.

    Attributes:
        name, bridge: of the model, and of its bridge in words.
        encoder: the vision tower's name among ``models.parts.PARTS``.
        parameters, trained: all of the model's, and those that this project trained.
        image_tokens: what a picture takes in the language model's context, or the patches that it looks at beside its
            text; None where nothing is written.
        kinds: a score for each kind of question.
        cider: CIDEr-D of the captions, None without.
        retrieved: pictures for which their own caption came first of a sheet; None where the model can't score.
        first_token: median seconds to the first token; None where nothing is written.
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


def compare(folder: Path, items: Sequence[Item], names: Sequence[str]) -> list[Row]:
    """Load the embedded models, ask each every item, and take their times.

    Args:
        folder: what the items' image paths are relative to.
        items: see ``items.read``; those with captions are also what models that score are measured on.
        names: of embedded models, see ``comparable``.
    Raises:
        ModelNotFound: one is not among these.
    """
    odd = [name for name in names if name not in comparable()]
    if odd:
        raise ModelNotFound(
            f"{', '.join(odd)} can't be compared, for it is not put together from the same pretrained parts as the "
            f"others: choose among {', '.join(comparable())}."
        )
    engines = {name: local.load(name, "none", None) for name in names}
    times = first_tokens({name: own for name, own in engines.items() if own.capabilities.writes}, folder, items)
    return [_row(name, engine, folder, items, times.get(name)) for name, engine in engines.items()]


def first_tokens(engines: Mapping[str, Engine], folder: Path, items: Sequence[Item]) -> dict[str, float]:
    """For each model the median seconds to the first token, of pictures that it has not seen before."""
    pictures = LastPicture(folder)
    chosen = list({item.image: item for item in items}.values())[: TIMED + 1]
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for number, item in enumerate(chosen):
        picture = pictures.open(item.image)
        for name, engine in engines.items():
            seconds = _first_token(engine, picture, item).timings.first_token
            if number or len(chosen) == 1:
                taken[name].append(seconds)
    return {name: median(seconds) for name, seconds in taken.items() if seconds}


def _first_token(engine: Engine, picture: Image.Image, item: Item) -> Answer:
    return answered(engine.stream(Request((picture,), item.question, max_new_tokens=1)))


def _row(name: str, engine: local.LocalEngine, folder: Path, items: Sequence[Item], first_token: float | None) -> Row:
    recipe = shipped_recipes.recipe_of(name)
    row: dict[str, Any] = {"first_token": first_token}
    if engine.capabilities.writes:
        lines = io.StringIO()
        report = evaluate(engine, folder, items, answers=lines)
        told = [json.loads(line) for line in lines.getvalue().splitlines()]
        row["right"] = {one["line"]: one["right"] for one in told if "right" in one}
        row["kinds"] = {kind: score for kind, score in report.kinds.items() if score.n}
        row["cider"] = report.as_dict()["cider"]["overall"]["cider"]
        row["image_tokens"] = _image_tokens(engine, folder, items[0])
    if engine.capabilities.scores:
        row["retrieved"] = retrieved(engine, folder, items)
    bridge, parameters = engine.pipeline.bridge_info.text, engine.parameters or 0
    return Row(name, bridge, recipe.vision_tower, parameters, recipe.trained, **row)


def _image_tokens(engine: Engine, folder: Path, item: Item) -> int:
    answer = _first_token(engine, LastPicture(folder).open(item.image), item)
    return answer.trace.image.shape[-1] if answer.trace else answer.prompt.image_tokens


def retrieved(engine: Engine, folder: Path, items: Sequence[Item]) -> Score | None:
    """Pictures for which their own first caption is the most similar of up to SHEET; None without captions."""
    captioned = [item for item in {item.image: item for item in items if item.captions}.values()]
    found, pictures = Score(), LastPicture(folder)
    for start in range(0, len(captioned), SHEET):
        sheet = captioned[start : start + SHEET]
        if start and len(sheet) < SHEET:
            break  # it would be easier
        captions = [item.captions[0] for item in sheet]
        for item in sheet:
            scores = engine.score(pictures.open(item.image), captions)
            found.add(captions[int(np.argmax(scores.similarities))] == item.captions[0])
    return found if found.n else None


def difference(one: Row, other: Row) -> tuple[float, float, float]:
    """How much oftener ``other`` is right than ``one``; see ``report.paired``."""
    return paired(one.right, other.right)


def findings(rows: Sequence[Row]) -> list[str]:
    """A sentence for each of PAIRS that is among the rows."""
    named = {row.name: row for row in rows}
    sentences = []
    for first, second, differs in PAIRS:
        if first not in named or second not in named or not named[first].right:
            continue
        mean, low, high = difference(named[first], named[second])
        clear = "better" if low > 0 else "worse" if high < 0 else "not clearly different"
        sentences.append(
            f"{second} is {first} with {differs}: {100 * mean:+.0f} points "
            f"({100 * low:+.0f} to {100 * high:+.0f}) of {len(named[first].right)} answers, {clear}."
        )
    return sentences


def table(rows: Sequence[Row]) -> str:
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
    asked = [f"{kind} {max(row.kinds[kind].n for row in rows if kind in row.kinds)}" for kind in kinds]
    counts = f"Questions: {', '.join(asked)}; the same for all. " if asked else ""
    scored = max((row.retrieved.n for row in rows if row.retrieved), default=0)
    among = f"R@1: a picture's own caption first among {min(scored, SHEET)}. " if scored else ""
    timed = "First token: the median of pictures not seen before, against the first row, all in turn in one run."
    return "\n".join([*lines, "", f"{counts}{among}{timed}", "", *(f"- {line}" for line in findings(rows))])


def _percent(score: Score | None) -> str:
    return f"{score.right / score.n:.0%}" if score and score.n else "–"
