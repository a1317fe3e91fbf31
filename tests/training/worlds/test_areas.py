"""Every area draws and asks, and each of its questions can be put in every phrasing of its kind."""

from string import Formatter

import numpy as np
import pytest

from vlm_demo.training.worlds.areas import AREAS
from vlm_demo.training.worlds.phrasings import phrasings

ALWAYS = {"color", "image", "objects"}  # filled in for every question
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("area", list(AREAS))
def test_a_question_has_all_fields_of_every_phrasing(area):
    kinds = set()
    for seed in range(12):
        rng = np.random.default_rng([6, seed])
        picture = AREAS[area].draw(rng, seed % 2 == 1)
        assert picture.kind == area and picture.image.mode == "RGB"
        for ocr_lines in (None, picture.facts.get("texts")):
            for form in AREAS[area].asker(picture, rng, ocr_lines).forms():
                question = form.make()
                while question is not None:
                    for template in (*phrasings(question.kind, False), *phrasings(question.kind, True)):
                        fields = {name for _, name, _, _ in Formatter().parse(template) if name}
                        assert fields <= {*question.fields, *ALWAYS}, (question.kind, template)
                    assert (question.guess is None) == (question.answer != "unknown") and question.answer
                    assert all(0 <= i < len(picture.things) for i in question.about)
                    kinds.add(question.kind)
                    question = question.follow
    assert len(kinds) > 12
