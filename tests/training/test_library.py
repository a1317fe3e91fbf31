"""What is drawn for training: pictures on the spot, and those that took longer to make, in their shares."""

import json

import numpy as np
import pytest

from vlm_demo.contracts import OcrWord
from vlm_demo.synthetic.reading import drawn
from vlm_demo.training.data import BOXED, READ_FOR_REAL, Library


def _said(read: list[list[OcrWord]]) -> list[str]:
    return [word.text for line in read for word in line]


@pytest.mark.parametrize("area", ["charts", "screens", "documents"])
def test_a_share_of_the_pictures_comes_with_what_tesseract_read(tmp_path, area):
    (tmp_path / "ocr").mkdir()
    entry = {"seed": [3, 1], "lines": [[["harvested", 1, 2, 30, 9]]]}
    (tmp_path / "ocr" / f"{area}.jsonl").write_text(json.dumps(entry) + "\n")
    library, rng = Library(tmp_path), np.random.default_rng(0)
    made = [library.draw(area, rng, True) for _ in range(60)]
    harvested = [picture for picture, read in made if _said(read) == ["harvested"]]
    assert abs(len(harvested) / 60 - READ_FOR_REAL) < 0.2
    assert np.array_equal(np.asarray(harvested[0].image), np.asarray(drawn(area, [3, 1]).image))
    assert library.draw(area, rng, False)[1] is None
    without = Library(tmp_path / "none")
    assert all(_said(without.draw(area, rng, True)[1]) != ["harvested"] for _ in range(9))


def test_many_small_things_in_boxes_are_drawn_more_often_than_the_world_has_them(tmp_path):
    library, rng = Library(tmp_path), np.random.default_rng(1)
    boxed = np.mean([library.draw("scenes", rng, False)[0].facts["groups"] > 0 for _ in range(300)])
    assert BOXED + 0.05 < boxed < BOXED + 0.2
