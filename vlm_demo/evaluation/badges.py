"""Badges: are answers with a green badge right, and do right answers get one?

Asks every question, gathers the evidence for each answer, and optionally fits what the evidence is worth; then the
answers about each eighth of the pictures are judged by a fit on the others, by none that knew it.
Green is a badge of an answer that rests on the picture, or on text that was read. Draws the reliability curve.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from vlm_demo.checks import grounding_badge
from vlm_demo.checks.calibration import Calibration, as_row
from vlm_demo.contracts import Evidence
from vlm_demo.contracts.engine import MeasurableEngine
from vlm_demo.contracts.grounding import GREEN, LEVELS, NOT_VISIBLE
from vlm_demo.errors import BadImage, BadQuestion, OcrUnavailable, VlmDemoError
from vlm_demo.evaluation.answers import fold, matches
from vlm_demo.evaluation.fit_calibration import fit, fit_limits
from vlm_demo.evaluation.items import Item, Skipped
from vlm_demo.evaluation.report import Score
from vlm_demo.evaluation.run import LastPicture, Toggles, ask
from vlm_demo.intervals import wilson

PARTS = 8  # of the answers, each judged by a fit on the others
BINS, PER_BIN = 8, 15  # at most this many bins, each with about this many answers


@dataclass(frozen=True)
class LabelledAnswer:
    """One answer.

    Attributes:
        evidence: for the answer; None where it states itself that it can't be known.
        right: whether it equals an accepted answer.
        visible: whether the question can be answered from the picture.
        kind: the question's.
        none: whether the answer is that there is none of something.
        image: the picture's path as the item gives it.
    """

    evidence: Evidence | None
    right: bool
    visible: bool
    kind: str = ""
    none: bool = False
    image: str = ""


@dataclass
class Green:
    """How green and right go together in one kind of question. Right means right and visible.

    Attributes:
        of_right: of the right answers, those that are green.
        right: of the green answers, those that are right.
    """

    of_right: Score = field(default_factory=Score)
    right: Score = field(default_factory=Score)

    def add(self, green: bool, right: bool) -> None:
        if right:
            self.of_right.add(green)
        if green:
            self.right.add(right)

    def as_dict(self) -> dict[str, Any]:
        """green_of_right and right_of_green, each n, share, low, high."""
        return {"green_of_right": _share(self.of_right), "right_of_green": _share(self.right)}


@dataclass
class Badges:
    """How reliable the badges were.

    Attributes:
        levels: for each level how many answers were right and visible.
        kinds: for each kind of question how green and right go together.
        scores, labels: of the answers that have evidence: the score 0..1, and whether right and visible.
        calibration: by which they were given; None = uncalibrated.
        settings: how the run was made, for the reader of the JSON.
    """

    levels: dict[str, Score] = field(default_factory=dict)
    kinds: dict[str, Green] = field(default_factory=dict)
    scores: list[float] = field(default_factory=list)
    labels: list[bool] = field(default_factory=list)
    unknown: int = 0
    calibration: Calibration | None = None
    skipped: list[Skipped] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def gap(self) -> float | None:
        """The accuracy of green answers minus that of the others."""
        green, others = Score(), Score()
        for level, score in self.levels.items():
            _add(green if level in GREEN else others, score)
        return green.right / green.n - others.right / others.n if green.n and others.n else None

    @property
    def overall(self) -> Green:
        """All kinds together."""
        total = Green()
        for green in self.kinds.values():
            for side, part in ((total.of_right, green.of_right), (total.right, green.right)):
                _add(side, part)
        return total

    @property
    def error(self) -> float | None:
        """The expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599): the mean distance of
        score and accuracy over bins of equally many answers."""
        bins = self.bins()
        return sum(n * abs(score - right) for score, right, n in bins) / len(self.scores) if bins else None

    def bins(self) -> list[tuple[float, float, int]]:
        """(mean score, share right, answers) of equally full bins, from low scores to high ones."""
        if not self.scores:
            return []
        parts = np.array_split(np.argsort(self.scores, kind="stable"), min(BINS, 1 + len(self.scores) // PER_BIN))
        scores, labels = np.array(self.scores), np.array(self.labels)
        return [(float(scores[part].mean()), float(labels[part].mean()), len(part)) for part in parts]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready values: levels, green, kinds, gap, calibration error, the reliability curve, skipped, settings."""
        return {
            "levels": {level: score.as_dict() for level, score in self.levels.items()},
            "green": self.overall.as_dict(),
            "kinds": {kind: self.kinds[kind].as_dict() for kind in sorted(self.kinds)},
            "gap": self.gap,
            "calibration_error": self.error,
            "reliability": [{"score": score, "right": right, "n": n} for score, right, n in self.bins()],
            "says_unknown": self.unknown,
            "calibrated_on": self.calibration.fitted if self.calibration else None,
            "skipped": [{"line": s.line, "image": s.image, "reason": s.reason} for s in self.skipped],
            "settings": self.settings,
        }

    def table(self) -> str:
        """The figures for a person."""
        width = max(map(len, ("badge", *self.levels)))
        lines = [f"{'badge':<{width}}  {'n':>5}  right, and answerable from the picture"]
        lines += [f"{level:<{width}}  {score.n:>5}  {_interval(score)}" for level, score in self.levels.items()]
        gap = "–" if self.gap is None else f"{100 * self.gap:.0f} points"
        lines.append(f"green minus the others: {gap}")
        width = max(map(len, ("overall", *self.kinds)))
        lines += ["", f"{'kind':<{width}}  {'green of the right answers':<34}  right of the green answers"]
        rows = [(kind, green) for kind, green in sorted(self.kinds.items()) if green.of_right.n or green.right.n]
        for kind, green in [*rows, ("overall", self.overall)]:
            lines.append(
                f"{kind:<{width}}  {_count_and_interval(green.of_right):<34}  {_count_and_interval(green.right)}"
            )
        lines.append("")
        if self.error is not None:
            lines.append(f"mean distance of score and accuracy: {self.error:.3f}")
        lines.append(f"of all answers {self.unknown} say themselves that nothing can be said: not visible")
        if self.calibration is None:
            lines.append("not calibrated; --fit fits each kind of evidence's worth, into the model's vlm_demo.json")
        lines += [f"skipped: line {item.line} ({item.image}): {item.reason}" for item in self.skipped]
        return "\n".join(lines)

    def draw(self, file: Path) -> None:
        """Write the reliability curve: the score against the share of such answers that are right."""
        from matplotlib.figure import Figure

        figure = Figure((4.5, 4.5), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        bins = self.bins()
        lows, highs = zip(*(wilson(round(right * n), n) for _, right, n in bins), strict=True)
        x, y = [score for score, _, _ in bins], [right for _, right, _ in bins]
        spread = [np.maximum(np.subtract(y, lows), 0), np.maximum(np.subtract(highs, y), 0)]
        axes.errorbar(x, y, spread, fmt="o-", color="#31688e", capsize=3)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="the badge's score", ylabel="right, and answerable")
        axes.set_title(f"{len(self.scores)} held-out answers, in {len(bins)} bins of equal size", fontsize=10)
        figure.savefig(file, dpi=150)


def _add(total: Score, part: Score) -> None:
    total.n, total.right = total.n + part.n, total.right + part.right


def _interval(score: Score) -> str:
    if not score.n:
        return "–"
    low, high = wilson(score.right, score.n)
    return f"{score.right / score.n:.1%} ({low:.1%} to {high:.1%})"


def _count_and_interval(score: Score) -> str:
    return f"{score.right} of {score.n}: {_interval(score)}" if score.n else "–"


def _share(score: Score) -> dict[str, Any]:
    figures = score.as_dict()
    return {"n": figures["n"], "share": figures["accuracy"], "low": figures["low"], "high": figures["high"]}


def collect(
    engine: MeasurableEngine,
    folder: Path,
    items: Sequence[Item],
    skipped: list[Skipped],
    progress: bool = True,
    max_new_tokens: int | None = None,
) -> list[LabelledAnswer]:
    """Ask every question that has a right answer, and gather the evidence for its answer. Adds to ``skipped``."""
    from tqdm import tqdm

    if not engine.capabilities.explains:
        raise VlmDemoError("This model gives no heatmaps, so its answers can't be tried: choose another model.")
    pictures, labelled = LastPicture(folder), []
    questions = [item for item in items if item.phrase is None and not item.captions]  # no caption is right or wrong
    for item in tqdm(questions, unit="item", file=sys.stderr, disable=not progress, dynamic_ncols=True):
        try:
            toggles = Toggles(bool(item.ocr), bool(item.evidence_only))
            answer = ask(engine, pictures.open(item.image), item, toggles, max_new_tokens)
        except (BadImage, BadQuestion, OcrUnavailable) as error:
            skipped.append(Skipped(item.line, item.image, str(error)))
            continue
        visible = not any(fold(accepted) == grounding_badge.UNKNOWN for accepted in item.answers)
        substantial = answer.words and not grounding_badge.says_unknown(answer.text)
        evidence = engine.evidence(answer) if substantial else None
        right, none = matches(item.metric, answer.text, item.answers), grounding_badge.says_none(answer)
        labelled.append(LabelledAnswer(evidence, right, visible, item.kind, none, item.image))
    return labelled


def parts(answers: Sequence[LabelledAnswer], count: int = PARTS) -> list[list[LabelledAnswer]]:
    """So many parts of about the same share of each kind, and all answers about a picture in one: in an order that has
    nothing to do with the items', for these often alternate, such as yes and no."""
    kinds = {one.image: one.kind for one in reversed(answers)}  # of each picture that of its first answer
    by_kind: dict[str, list[str]] = defaultdict(list)
    for image in sorted(kinds, key=lambda name: crc32(name.encode())):
        by_kind[kinds[image]].append(image)
    part_of = {image: i % count for images in by_kind.values() for i, image in enumerate(images)}
    return [[one for one in answers if part_of[one.image] == part] for part in range(count)]


def calibrate(answers: Sequence[LabelledAnswer]) -> Calibration:
    """The weights of the evidence, and how much of it a badge needs, fitted on labelled answers.

    Raises:
        VlmDemoError: there are none with evidence, or all are right, or all wrong.
    """
    with_evidence = [(one.evidence, one.right and one.visible) for one in answers if one.evidence is not None]
    if not with_evidence:
        raise VlmDemoError("No answer has evidence to fit on: give a folder with questions that the model answers.")
    evidence, labels = [one for one, _ in with_evidence], [label for _, label in with_evidence]
    fitted = fit(np.array([as_row(one) for one in evidence]), np.array(labels))
    return replace(fitted, limits=fit_limits(evidence, labels))


def cross_judge(answers: Sequence[LabelledAnswer]) -> Badges:
    """As `judge`, each of ``PARTS`` parts of the answers by a fit on the others; ``calibration`` is the fit on all.

    Raises:
        VlmDemoError: there are too few answers with evidence to fit on, or all are right, or all wrong.
    """
    found = judge([], calibrate(answers))
    all_parts = parts(answers)
    for part in all_parts:
        _judge_into(found, part, calibrate([one for other in all_parts if other is not part for one in other]))
    return found


def judge(answers: Sequence[LabelledAnswer], calibration: Calibration | None) -> Badges:
    """Give every answer its badge, and count how many of each are right."""
    badges = Badges({level: Score() for level in LEVELS}, calibration=calibration)
    _judge_into(badges, answers, calibration)
    return badges


def _judge_into(badges: Badges, answers: Sequence[LabelledAnswer], calibration: Calibration | None) -> None:
    for labelled in answers:
        label = labelled.right and labelled.visible
        kind = badges.kinds.setdefault(labelled.kind, Green())
        if labelled.evidence is None:
            kind.add(False, label)
            badges.unknown += 1
            badges.levels[NOT_VISIBLE].add(label)
            continue
        badge = grounding_badge.badge(labelled.evidence, calibration, none=labelled.none)
        kind.add(badge.level in GREEN, label)
        badges.levels[badge.level].add(label)
        badges.scores.append(badge.score)
        badges.labels.append(label)
