"""Retrieval: pictures and captions → does the model find the caption of each, and prefer it to a false one?

Reads a folder's captions.jsonl, one JSON object a line: `image` (a path relative to the folder), `caption`, true of it,
`wrong`, the same with one word changed so that it is false, and `kind`. Any engine that scores can
be measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vlm_demo.contracts.engine import Engine
from vlm_demo.errors import VlmDemoError
from vlm_demo.evaluation.report import Score

FILE = "captions.jsonl"
CANDIDATES = 100  # captions that a picture is compared with


@dataclass
class Retrieval:
    """The results of a run, each as a `Score`.

    Attributes:
        text, image: whether, of the captions of a group, a picture's own comes first, and of the pictures a caption's.
        nearer_than_changed: whether a picture's own caption is more similar to it than the same with one word changed.
        match: whether the matching head gives the own caption at least a half, and the changed one less; a score for
            every pair of picture and text.
        better: whether it gives the own caption more than the changed one.
        kinds: ``text`` for each kind.
    """

    text: Score = field(default_factory=Score)
    image: Score = field(default_factory=Score)
    nearer_than_changed: Score = field(default_factory=Score)
    match: Score = field(default_factory=Score)
    better: Score = field(default_factory=Score)
    kinds: dict[str, Score] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, Score]]:
        """The scores to be shown, by name."""
        rows = [
            (f"caption of a picture, R@1 in {CANDIDATES}", self.text),
            (f"picture of a caption, R@1 in {CANDIDATES}", self.image),
            ("own caption nearer than one with a word changed", self.nearer_than_changed),
        ]
        if self.match.n:
            rows += [("matching head, each pair right", self.match), ("matching head, own above changed", self.better)]
        return rows + [(f"caption of a picture, {kind}", score) for kind, score in sorted(self.kinds.items())]

    def as_dict(self) -> dict[str, Any]:
        """The scores as JSON-ready values."""
        return {name: score.as_dict() for name, score in self.rows()}

    def table(self) -> str:
        """The scores for a person."""
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        lines = [f"{'measured':<{width}}  {'n':>5}  accuracy  95 % interval"]
        for name, score in rows:
            values = score.as_dict()
            figures = (
                f"{values['accuracy']:8.1%}  {values['low']:.1%} to {values['high']:.1%}" if score.n else "       -"
            )
            lines.append(f"{name:<{width}}  {score.n:>5}  {figures}")
        return "\n".join(lines)


def read(folder: Path) -> list[dict[str, str]]:
    """The lines of ``folder``/captions.jsonl.

    Raises:
        VlmDemoError: the file is missing, or a line lacks a field.
    """
    path = folder / FILE
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise VlmDemoError(f"{path} can't be read: give a folder that `draw FOLDER captions` wrote.") from error
    needed = ("image", "caption", "wrong", "kind")
    if not lines or not all(
        isinstance(line, dict) and all(isinstance(line.get(k), str) for k in needed) for line in lines
    ):
        raise VlmDemoError(f"{path} needs in every line {', '.join(needed)}.")
    return lines


def retrieve(engine: Engine, folder: Path, lines: Sequence[dict[str, str]], progress: bool = True) -> Retrieval:
    """Compare every picture with the captions of its group of CANDIDATES, and with its own caption with one
    word changed.

    A caption that two pictures of a group share is right for both. A last group that is not full is left out, as it
    would be easier.
    """
    from tqdm import tqdm

    from vlm_demo.images.open import open_image

    found = Retrieval()
    full_groups = [line for line in lines[: max(len(lines) // CANDIDATES, 1) * CANDIDATES]]
    bar = tqdm(full_groups, unit="picture", file=sys.stderr, disable=not progress, dynamic_ncols=True)
    for start in range(0, len(full_groups), CANDIDATES):
        group = full_groups[start : start + CANDIDATES]
        captions = [line["caption"] for line in group]
        similarities = np.zeros((len(group), len(group)))
        for number, line in enumerate(group):
            picture, _notes = open_image(folder / line["image"])
            scores = engine.score(picture, [*captions, line["wrong"]])
            similarities[number] = scores.similarities[:-1]
            first = captions[int(np.argmax(similarities[number]))] == line["caption"]
            found.text.add(first)
            found.kinds.setdefault(line["kind"], Score()).add(first)
            found.nearer_than_changed.add(similarities[number, number] > scores.similarities[-1])
            if scores.matches is not None:
                right, wrong = scores.matches[number], scores.matches[-1]
                found.match.add(right >= 0.5)
                found.match.add(wrong < 0.5)
                found.better.add(right > wrong)
            bar.update()
        for number, line in enumerate(group):
            found.image.add(captions[int(np.argmax(similarities[:, number]))] == line["caption"])
    bar.close()
    return found
