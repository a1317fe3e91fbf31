"""Is a bigger language model always better? Variants of one recipe, trained alike, on the same questions.

Each variant is a folder that ``train`` exported: its recipe holds how many layers the language model has, which vision
encoder it has and the size of its pictures; its record, how long it was trained. The others differ from the first,
each in one of the three.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_demo.contracts.engine import Engine
from vlm_demo.errors import UnsupportedModel, VlmDemoError
from vlm_demo.evaluation.items import Item
from vlm_demo.evaluation.report import Score, paired
from vlm_demo.evaluation.run import evaluate
from vlm_demo.models.builders import RECIPE, Recipe, read_recipe
from vlm_demo.shipped import folder as shipped

RECORD = "training.json"  # next to the weights, see ``training.record``
TRAINED_DIFFERENTLY = (
    "{} and {} were not trained alike ({} and {} steps): train both with the same --steps, from nothing."
)
ENCODERS = {"efficientnet-lite2": "EfficientNet-Lite2", "dinov2-vit-s-focus": "DINOv2 ViT-S"}  # for display


@dataclass(frozen=True)
class Variant:
    """One variant of the recipe, and its figures.

    Attributes:
        name: its folder's.
        layers: of the language model; 0 = all.
        encoder: the vision tower's name among ``models.parts.PARTS``.
        image_size: pixels of the square that it encodes.
        steps, pictures: of training with the language model's loss.
        parameters: all of the model's.
        right: for each line of the questions that were asked, whether the answer was right.
        cider: CIDEr-D of the captions and its 95 % interval; None without captions.
    """

    name: str
    layers: int
    encoder: str
    image_size: int
    steps: int
    pictures: int
    parameters: int
    right: Mapping[int, bool]
    cider: tuple[float, float, float] | None = None

    def difference_from(self, other: Variant) -> str:
        """How it differs from ``other``, in a few words."""
        if self.layers != other.layers:
            return f"{self.layers} layers" if self.layers else "all layers of the LLM"
        name = ENCODERS.get(self.encoder, self.encoder)
        return name if self.encoder != other.encoder else f"{self.image_size} px"

    @property
    def score(self) -> Score:
        return Score(len(self.right), sum(self.right.values()))


@dataclass(frozen=True)
class Gain:
    """How many more questions the first variant gets right than another: fractions −1..1, with a 95 % interval."""

    have: str
    lack: str
    mean: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        figures = f"{100 * self.mean:+.0f} points, {100 * self.low:+.0f} to {100 * self.high:+.0f}"
        return f"{self.have} instead of {self.lack} ({figures})"


@dataclass(frozen=True)
class BiggerOutcome:
    """All variants; the others are compared with the first."""

    variants: tuple[Variant, ...]

    def gains(self) -> list[Gain]:
        """The gains of the first one's choices, the largest first."""
        base, *others = self.variants
        found = [
            Gain(base.difference_from(variant), variant.difference_from(base), *paired(variant.right, base.right))
            for variant in others
        ]
        return sorted(found, key=lambda gain: -gain.mean)

    def sentence(self) -> str:
        """The result in one sentence."""
        base, gains = self.variants[0], self.gains()
        clear = [gain for gain in gains if gain.low > 0]
        prefix = f"Trained alike for {base.steps} steps and asked the same {len(base.right)} questions, "
        if not clear:
            return f"{prefix}no choice made a clear difference: {'; '.join(map(str, gains))}."
        text = f"{prefix}most came of {clear[0]}"
        rest = [gain for gain in gains if gain is not clear[0]]
        if rest:
            text += f", before {'; '.join(map(str, rest))}"
        unclear = ", ".join(gain.have for gain in rest if not gain.clear)
        return f"{text}; not clear: {unclear}." if unclear else f"{text}."

    def table(self) -> str:
        """For a person."""
        heads = f"{'variant':<12} {'layers':>6}  {'encoder':<20} {'pixels':>6}  {'pictures':>8}  {'right':>6}  CIDEr-D"
        lines = [heads]
        for one in self.variants:
            low, high = (one.score.as_dict()[edge] or 0.0 for edge in ("low", "high"))
            share = one.score.right / max(1, one.score.n)
            cider = "-" if one.cider is None else f"{one.cider[0]:.0f} ({one.cider[1]:.0f} to {one.cider[2]:.0f})"
            lines.append(
                f"{one.name:<12} {one.layers or 'all':>6}  {one.encoder:<20} {one.image_size:>6}  {one.pictures:>8}  "
                f"{share:>6.0%}  {cider}   ({low:.0%} to {high:.0%} of {one.score.n} right)"
            )
        return "\n".join([*lines, "", self.sentence()])

    def draw(self, file: Path) -> None:
        """Write the plot: the gain of each choice, with its interval."""
        from matplotlib.figure import Figure

        gains = self.gains()[::-1]
        figure = Figure((7.4, 1.2 + 0.6 * len(gains)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color="0.7", linewidth=1)
        for row, gain in enumerate(gains):
            axes.plot([100 * gain.low, 100 * gain.high], [row, row], color="#b5432c", linewidth=2)
            axes.plot(100 * gain.mean, row, "o", color="#b5432c")
        axes.set_yticks(range(len(gains)), [f"{gain.have}\ninstead of {gain.lack}" for gain in gains], fontsize=9)
        axes.set(ylim=(-0.6, len(gains) - 0.4), xlabel="points of the questions, with 95 % intervals")
        n, steps = len(self.variants[0].right), self.variants[0].steps
        axes.set_title(f"What brings more? {n} questions, {steps} steps each", fontsize=11)
        figure.savefig(file, dpi=150)

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON-ready values."""
        variants = [
            {name: getattr(variant, name) for name in ("name", "layers", "encoder", "image_size", "steps", "pictures")}
            | {"parameters": variant.parameters, **variant.score.as_dict(), "cider": variant.cider}
            for variant in self.variants
        ]
        return {"variants": variants, "gains": [vars(gain) for gain in self.gains()], "sentence": self.sentence()}


def measure(
    names: Sequence[str], load: Callable[[str], Engine], folder: Path, items: Sequence[Item], progress: bool = True
) -> BiggerOutcome:
    """Ask every variant every item, one variant after the other.

    Args:
        names: embedded models or folders that ``train`` exported, the first is the one that the others differ from.
        load: a name → its engine.
        folder: what the items' pictures are relative to.
    Raises:
        VlmDemoError: fewer than two variants, one without a record, or they were not trained alike.
        UnsupportedModel: a recipe is damaged, or two are the same.
    """
    if len(names) < 2:
        raise VlmDemoError("There is nothing to compare: name variants with --against.")
    variants = [_described(name) for name in names]
    (_, first, steps, _), *others = variants
    for name, recipe, other_steps, _ in others:
        if other_steps != steps:
            raise VlmDemoError(TRAINED_DIFFERENTLY.format(names[0], name, steps, other_steps))
        if recipe == first:
            raise UnsupportedModel(f"{name} has the recipe of {names[0]}: vary its layers, encoder or size.")
    return BiggerOutcome(tuple(_evaluated(*variant, load(variant[0]), folder, items, progress) for variant in variants))


def _described(name: str) -> tuple[str, Recipe, int, int]:
    """A variant's name and recipe, and how many steps and pictures its training took."""
    folder = next(
        (candidate for candidate in (Path(name), shipped("models") / name) if (candidate / RECIPE).is_file()), None
    )
    if folder is None:
        raise UnsupportedModel(f"{name} holds no {RECIPE}: name a folder that train exported.")
    try:
        runs = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        steps, pictures = (sum(int(run[entry]) for run in runs) for entry in ("steps", "samples"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnsupportedModel(f"{name} says nowhere how it was trained: export it again with train.") from error
    return name, read_recipe(folder / RECIPE), steps, pictures


def _evaluated(
    name: str, recipe: Recipe, steps: int, pictures: int, engine: Engine, folder: Path, items: Sequence[Item],
    progress: bool,
) -> Variant:  # fmt: skip
    lines = io.StringIO()
    report = evaluate(engine, folder, items, answers=lines, progress=progress)
    records = [json.loads(line) for line in lines.getvalue().splitlines()]
    right = {record["line"]: record["right"] for record in records if isinstance(record.get("right"), bool)}
    cider = report.as_dict()["cider"]["overall"]
    return Variant(
        Path(name).name,
        recipe.language_layers,
        recipe.vision_tower,
        recipe.image_size,
        steps,
        pictures,
        engine.parameters or 0,
        right,
        None if cider["cider"] is None else (cider["cider"], cider["low"], cider["high"]),
    )
