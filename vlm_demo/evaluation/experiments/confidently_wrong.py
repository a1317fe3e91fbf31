"""Why is it confident but wrong? How sure a model is of right and of wrong answers, and how they differ.

Three things are measured of each answer: its probability (the geometric mean of its tokens'), the same question about
a grey picture, and the rule that asks for "unknown" where nothing is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm_demo.checks.grounding_badge import says_unknown
from vlm_demo.contracts.engine import Engine
from vlm_demo.engines.live_checks import about_blank
from vlm_demo.errors import BadImage, BadQuestion, UnsupportedModel, VlmDemoError
from vlm_demo.evaluation.answers import exact, matches
from vlm_demo.evaluation.items import UNKNOWN, Item
from vlm_demo.evaluation.report import with_interval
from vlm_demo.evaluation.run import LastPicture, Toggles, ask

BINS = 5  # of equal width, of the probability


@dataclass(frozen=True)
class Case:
    """One answer.

    Attributes:
        right: whether it is.
        confidence: its probability, 0..1, the geometric mean of its tokens'.
        without_picture: the probability of the same answer about a grey picture, 0..1; None where it is not known.
        same_on_blank: whether the grey picture got the same answer.
        unknown_with_rule: whether the model answers "unknown" with the rule.
    """

    right: bool
    confidence: float
    without_picture: float | None
    same_on_blank: bool
    unknown_with_rule: bool


@dataclass(frozen=True)
class Group:
    """The right answers, or the wrong ones: how many, and the means of their measurements, 0..1."""

    n: int
    confidence: float
    same_on_blank: float
    unknown_with_rule: float


@dataclass(frozen=True)
class ConfidentlyWrongOutcome:
    """The answers to all questions; ``skipped`` of them could not be asked."""

    model: str
    cases: tuple[Case, ...]
    skipped: int = 0

    def group(self, right: bool) -> Group | None:
        """The right answers, or the wrong ones; None where there are none."""
        cases = [case for case in self.cases if case.right == right]
        if not cases:
            return None
        return Group(
            len(cases),
            sum(case.confidence for case in cases) / len(cases),
            sum(case.same_on_blank for case in cases) / len(cases),
            sum(case.unknown_with_rule for case in cases) / len(cases),
        )

    def curve(self) -> list[tuple[float, float, int]]:
        """Of each bin of the probability that holds answers: their mean probability, the fraction of them that is
        right, and how many they are."""
        found = []
        for number in range(BINS):
            low, high = number / BINS, (number + 1) / BINS
            cases = [case for case in self.cases if low <= case.confidence < high or (high == 1 == case.confidence)]
            if cases:
                right = sum(case.right for case in cases) / len(cases)
                found.append((sum(case.confidence for case in cases) / len(cases), right, len(cases)))
        return found

    def sentence(self) -> str:
        """The result in one sentence."""
        right, wrong = self.group(True), self.group(False)
        if not wrong:
            return f"{self.model} answered all {len(self.cases)} questions right: there is nothing to explain here."
        text = (
            f"{self.model} was wrong {wrong.n} times of {len(self.cases)}, with a mean probability of "
            f"{wrong.confidence:.2f}{f' (when right: {right.confidence:.2f})' if right else ''}; of the wrong answers "
            f"{with_interval(wrong.same_on_blank, wrong.n)} stay the same without the picture"
        )
        text += f" (of the right ones {with_interval(right.same_on_blank, right.n)})" if right else ""
        unknown = with_interval(wrong.unknown_with_rule, wrong.n)
        text += f', and the evidence-only rule turns {unknown} of them into "unknown"'
        if not right:
            return f"{text}."
        return f"{text}, at the cost of {with_interval(right.unknown_with_rule, right.n)} of the right ones."

    def table(self) -> str:
        """For a person."""
        lines = ["answers    n  probability  same without picture  unknown with the rule"]
        for name, right in (("right", True), ("wrong", False)):
            if group := self.group(right):
                figures = f"{group.confidence:>11.2f}  {group.same_on_blank:>20.0%}  {group.unknown_with_rule:>21.0%}"
                lines.append(f"{name:<7} {group.n:>4}  {figures}")
        lines += ["", "probability    n  right"]
        lines += [f"{confidence:>11.2f} {n:>4}  {right:>5.0%}" for confidence, right, n in self.curve()]
        if self.skipped:
            lines.append(f"skipped: {self.skipped}")
        return "\n".join([*lines, "", self.sentence()])

    def draw(self, file: Path) -> None:
        """Write the plot: how often answers of each probability are right, and how right and wrong ones differ."""
        from matplotlib.figure import Figure

        figure = Figure((8.4, 4.0), layout="constrained")
        curve, bars = figure.subplots(1, 2)
        curve.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        points = self.curve()
        curve.plot([point[0] for point in points], [point[1] for point in points], "o-", color="#31688e")
        for confidence, right, n in points:
            curve.annotate(str(n), (confidence, right), (5, -11), textcoords="offset points", fontsize=8)
        curve.set(xlim=(0, 1), ylim=(-0.04, 1.04), xlabel="the model's probability of its answer", ylabel="right")
        names = ("its probability", "same without\nthe picture", "unknown with\nthe rule")
        for index, (name, right, colour) in enumerate((("right", True, "#35b779"), ("wrong", False, "#b5432c"))):
            if group := self.group(right):
                heights = group.confidence, group.same_on_blank, group.unknown_with_rule
                positions = [number + 0.36 * index - 0.18 for number in range(3)]
                bars.bar(positions, heights, 0.34, color=colour, label=f"{group.n} {name} answers")
        bars.set(ylim=(0, 1), xticks=range(3), xticklabels=names)
        bars.legend(frameon=False, fontsize=9)
        figure.suptitle(f"Why confident but wrong? {self.model}, {len(self.cases)} questions", fontsize=11)
        figure.savefig(file, dpi=150)

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON-ready values."""
        groups = {
            name: group and vars(group) for name, group in (("right", self.group(True)), ("wrong", self.group(False)))
        }
        curve = [{"probability": probability, "right": right, "n": n} for probability, right, n in self.curve()]
        return {"model": self.model, **groups, "curve": curve, "skipped": self.skipped, "sentence": self.sentence()}


def measure(engine: Engine, folder: Path, items: Sequence[Item], progress: bool = True) -> ConfidentlyWrongOutcome:
    """Ask every question that has a right answer three times: as it is, about a grey picture, and with the rule.

    Args:
        folder: what the items' pictures are relative to.
    Raises:
        UnsupportedModel: the engine's tokens carry no probabilities.
        VlmDemoError: no item has a right answer that is to be found in the picture.
    """
    if not engine.capabilities.logprobs:
        raise UnsupportedModel(f"{engine.name} tells no probabilities: choose a model that is loaded here.")
    answerable = [item for item in items if item.phrase is None and not item.captions and item.answers != (UNKNOWN,)]
    if not answerable:
        raise VlmDemoError("None of the items has an answer that the picture gives: give a folder of questions.")
    from tqdm import tqdm

    pictures, cases, skipped = LastPicture(folder), [], 0
    for item in tqdm(answerable, unit="question", disable=not progress, dynamic_ncols=True):
        try:
            cases.append(_case(engine, pictures, item))
        except (BadImage, BadQuestion):
            skipped += 1
    return ConfidentlyWrongOutcome(engine.name, tuple(cases), skipped)


def _case(engine: Engine, pictures: LastPicture, item: Item) -> Case:
    picture = pictures.open(item.image)
    answer = ask(engine, picture, item, Toggles())
    blank = about_blank(engine, answer)
    with_rule = ask(engine, picture, item, Toggles(evidence_only=True))
    return Case(
        right=matches(item.metric, answer.text, item.answers),
        confidence=blank.with_picture or 0.0,
        without_picture=blank.with_blank,
        same_on_blank=exact(blank.text, answer.text),
        unknown_with_rule=says_unknown(with_rule.text),
    )
