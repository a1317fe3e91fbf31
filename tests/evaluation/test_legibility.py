"""The height from which on a model reads is measured height by height, and stored in its checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.kit.planted_answer import answer
from tests.kit.views import whole
from vlm_demo import Pipeline
from vlm_demo.checks.legible_height import read_legibility, write_legibility
from vlm_demo.contracts.engine import Event, Request
from vlm_demo.errors import UnsupportedModel
from vlm_demo.evaluation import legibility


def ink(picture) -> tuple[int, int]:
    """(width, height) of what is not white."""
    rows, columns = np.nonzero(np.asarray(picture.convert("L")) < 128)
    return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


class Reads:
    """Reads what is at least ``lowest`` pixels high, and always guesses the first word."""

    def __init__(self, lowest: float) -> None:
        self.lowest, self.calls = lowest, -1  # the first picture is empty: it is for the size

    def stream(self, request: Request) -> Iterator[Event]:
        (picture,) = request.images
        word = legibility.WORDS[self.calls % len(legibility.WORDS)]
        self.calls += 1
        text = f"it says {word}" if self.calls and ink(picture)[1] >= self.lowest else legibility.WORDS[0]
        yield replace(answer(text), views=(whole(picture.size, (288, 288)),))


@pytest.mark.parametrize("height", [9, 24, 48])
def test_words_have_the_height_that_is_asked_for(height: int) -> None:
    assert ink(legibility.drawn("HOTEL", height, (288, 288)))[1] == pytest.approx(height, abs=1)
    assert legibility.drawn("HOTEL", 200, (288, 288)) is None


def test_the_height_from_which_on_it_reads() -> None:
    found = legibility.measure(Reads(15))
    assert found.reads_from == 16 and found.shares[12] == 1 / len(legibility.WORDS)
    assert legibility.measure(Reads(1000)).reads_from == math.inf
    assert legibility.Legibility({7: 0.9, 9: 0.1, 12: 0.9}, 8).reads_from == 12


def test_it_is_stored_next_to_the_other_settings_of_the_checkpoint(tmp_path: Path) -> None:
    assert read_legibility(tmp_path) is None
    (tmp_path / "vlm_demo.json").write_text(json.dumps({"heatmap": {"method": "mean"}}))
    write_legibility(tmp_path, 16.0, 8)
    assert read_legibility(tmp_path) == 16.0
    write_legibility(tmp_path, math.inf, 8)
    assert read_legibility(tmp_path) == math.inf
    settings = json.loads((tmp_path / "vlm_demo.json").read_text())
    assert settings["heatmap"] == {"method": "mean"} and settings["legibility"] == {"reads_from": None, "words": 8}
    (tmp_path / "vlm_demo.json").write_text(json.dumps({"legibility": {}}))
    with pytest.raises(UnsupportedModel, match="legibility"):
        read_legibility(tmp_path)


def test_an_answers_checklist_knows_it(checkpoint: Path, tmp_path: Path, noise) -> None:
    import shutil

    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    write_legibility(folder, math.inf, 8)
    check = Pipeline.from_pretrained(folder).ask(noise(60, 60), "What is it?", max_new_tokens=1).checks[3]
    assert check.values["reads_from"] == "nothing"
