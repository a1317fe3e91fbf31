"""Printed words: their boxes are where the letters are, as the real Tesseract finds them."""

from collections import Counter

import numpy as np
import pytest

from vlm_demo.stages import ocr
from vlm_demo.training.worlds.areas import AREAS
from vlm_demo.training.worlds.printed import spelled, texts


def test_words_share_the_box_by_their_letters():
    words = spelled("ab  c", (10, 0, 60, 8))
    assert [(word.text, word.box) for word in words] == [("ab", (10, 0, 30, 8)), ("c", (50, 0, 60, 8))]
    assert texts([words, []]) == ["ab c", ""]


@pytest.mark.parametrize("area", ["charts", "screens", "documents"])
def test_a_word_stands_where_tesseract_reads_it(area):
    found = near = 0
    for seed in range(12):
        picture = AREAS[area].draw(np.random.default_rng(seed), False)
        assert texts(picture.facts["words"]) == picture.facts["texts"]
        printed = [word for line in picture.facts["words"] for word in line]
        once = Counter(word.text for word in printed)
        own = {word.text: word.box for word in printed if once[word.text] == 1 and len(word.text) > 2}
        for word in ocr.read(picture.image).words:
            if word.text in own:
                here, there = (np.array(box, dtype=float) for box in (own[word.text], word.box))
                off = abs((here[:2] + here[2:]) / 2 - (there[:2] + there[2:]) / 2)
                found += 1
                near += bool((off < 0.04 * max(picture.image.size)).all())
    assert found > 25 and near > 0.93 * found
