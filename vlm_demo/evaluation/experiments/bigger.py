"""Is a bigger language model always better? Variants of one recipe, trained alike, on the same questions.

Each variant is a folder that ``train`` exported: its recipe says how many layers the language model has, which vision
encoder stands before it and how many pixels that sees; its record says how long it was trained. The first is what the
others differ from, each in one of the three.
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

RECORD = "training.json"  # beside the weights, see ``training.record``
NOT_ALIKE = "{} and {} were not trained alike ({} and {} steps): train both with the same --steps, from nothing."
ENCODERS = {"efficientnet-lite2": "EfficientNet-Lite2", "dinov2-vit-s-focus": "DINOv2 ViT-S"}  # for people


@dataclass(frozen=True)
class Variant:
    """One variant of the recipe, and what came of it.

    Attributes:
        name: its folder's.
        layers: of the language model; 0 = all.
        encoder: the vision tower's name among ``models.parts.PARTS``.
        image_size: pixels of the square that it sees.
        steps, pictures: that the language model's loss took, and saw.
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

    def told(self, other: Variant) -> str:
        """What it has that ``other`` has not, in a few words."""
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
class Outcome:
    """All variants; the first is the one that the others are held against."""

    variants: tuple[Variant, ...]

    def gains(self) -> list[Gain]:
        """What the first one's choices bring, the largest first."""
        base, *others = self.variants
        found = [Gain(base.told(own), own.told(base), *paired(own.right, base.right)) for own in others]
        return sorted(found, key=lambda gain: -gain.mean)

    def sentence(self) -> str:
        """What was found, in one sentence."""
        base, gains = self.variants[0], self.gains()
        clear = [gain for gain in gains if gain.low > 0]
        told = f"Trained alike for {base.steps} steps and asked the same {len(base.right)} questions, "
        if not clear:
            return f"{told}no choice made a clear difference: {'; '.join(map(str, gains))}."
        worth = f"{told}most came of {clear[0]}"
        rest = [gain for gain in gains if gain is not clear[0]]
        if rest:
            worth += f", before {'; '.join(map(str, rest))}"
        unclear = ", ".join(gain.have for gain in rest if not gain.clear)
        return f"{worth}; not clear: {unclear}." if unclear else f"{worth}."

    def table(self) -> str:
        """For a person."""
        heads = f"{'variant':<12} {'layers':>6}  {'encoder':<20} {'pixels':>6}  {'pictures':>8}  {'right':>6}  CIDEr-D"
        lines = [heads]
        for own in self.variants:
            low, high = (own.score.as_dict()[edge] or 0.0 for edge in ("low", "high"))
            share = own.score.right / max(1, own.score.n)
            cider = "-" if own.cider is None else f"{own.cider[0]:.0f} ({own.cider[1]:.0f} to {own.cider[2]:.0f})"
            lines.append(
                f"{own.name:<12} {own.layers or 'all':>6}  {own.encoder:<20} {own.image_size:>6}  {own.pictures:>8}  "
                f"{share:>6.0%}  {cider}   ({low:.0%} to {high:.0%} of {own.score.n} right)"
            )
        return "\n".join([*lines, "", self.sentence()])

    def draw(self, file: Path) -> None:
        """Write the plot: what each choice brings, with its interval."""
        from matplotlib.figure import Figure

        gains = self.gains()[::-1]
        figure = Figure((7.4, 1.2 + 0.6 * len(gains)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color="0.7", linewidth=1)
        for place, gain in enumerate(gains):
            axes.plot([100 * gain.low, 100 * gain.high], [place, place], color="#b5432c", linewidth=2)
            axes.plot(100 * gain.mean, place, "o", color="#b5432c")
        axes.set_yticks(range(len(gains)), [f"{gain.have}\ninstead of {gain.lack}" for gain in gains], fontsize=9)
        axes.set(ylim=(-0.6, len(gains) - 0.4), xlabel="points of the questions, with 95 % intervals")
        n, steps = len(self.variants[0].right), self.variants[0].steps
        axes.set_title(f"What brings more? {n} questions, {steps} steps each", fontsize=11)
        figure.savefig(file, dpi=150)

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON-ready values."""
        variants = [
            {name: getattr(own, name) for name in ("name", "layers", "encoder", "image_size", "steps", "pictures")}
            | {"parameters": own.parameters, **own.score.as_dict(), "cider": own.cider}
            for own in self.variants
        ]
        return {"variants": variants, "gains": [vars(gain) for gain in self.gains()], "sentence": self.sentence()}


def measure(
    names: Sequence[str], load: Callable[[str], Engine], folder: Path, items: Sequence[Item], progress: bool = True
) -> Outcome:
    """Ask every variant every item, one variant after the other.

    Args:
        names: embedded models or folders that ``train`` exported, the one that the others differ from first.
        load: a name → its engine.
        folder: what the items' pictures are relative to.
    Raises:
        VlmDemoError: fewer than two variants, one without a record, or they were not trained alike.
        UnsupportedModel: a recipe is damaged, or two are the same.
    """
    if len(names) < 2:
        raise VlmDemoError("There is nothing to compare: name variants with --against.")
    made = [_made(name) for name in names]
    (_, first, steps, _), *others = made
    for name, recipe, own, _ in others:
        if own != steps:
            raise VlmDemoError(NOT_ALIKE.format(names[0], name, steps, own))
        if recipe == first:
            raise UnsupportedModel(f"{name} has the recipe of {names[0]}: vary its layers, encoder or size.")
    return Outcome(tuple(_asked(*own, load(own[0]), folder, items, progress) for own in made))


def _made(name: str) -> tuple[str, Recipe, int, int]:
    """A variant's name and recipe, and how many steps and pictures its training took."""
    place = next((own for own in (Path(name), shipped("models") / name) if (own / RECIPE).is_file()), None)
    if place is None:
        raise UnsupportedModel(f"{name} holds no {RECIPE}: name a folder that train exported.")
    try:
        runs = json.loads((place / RECORD).read_text(encoding="utf-8"))
        steps, pictures = (sum(int(run[entry]) for run in runs) for entry in ("steps", "samples"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnsupportedModel(f"{name} says nowhere how it was trained: export it again with train.") from error
    return name, read_recipe(place / RECIPE), steps, pictures


def _asked(
    name: str, recipe: Recipe, steps: int, pictures: int, engine: Engine, folder: Path, items: Sequence[Item],
    progress: bool,
) -> Variant:  # fmt: skip
    lines = io.StringIO()
    report = evaluate(engine, folder, items, answers=lines, progress=progress)
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    right = {one["line"]: one["right"] for one in told if isinstance(one.get("right"), bool)}
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
