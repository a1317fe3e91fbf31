"""Questions must be true of their picture, and the held-out phrasings unseen in training."""

import re

import numpy as np

from vlm_demo.evaluation.answers import matches
from vlm_demo.synthetic.phrasings import HELD_OUT, PHRASINGS, phrasings
from vlm_demo.synthetic.questions import ask
from vlm_demo.synthetic.receipts import draw_receipt, imitate_ocr
from vlm_demo.synthetic.scenes import draw_scene
from vlm_demo.synthetic.world import COLOURS, SHAPES


def _scene_questions(kind, seeds=300):
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        picture = draw_scene(rng)
        if all(thing.visible > 0.9 for thing in picture.things):
            for question in ask(picture, 8, rng):
                if question.kind == kind:
                    yield picture, question


def _fits(thing, text):
    """Whether a thing is what the text names, by reading the text alone."""
    words = re.findall(r"[a-z]+", text.lower().replace("grey", "gray"))
    singular = {w.removesuffix("es") if w == "crosses" else w.removesuffix("s") if w != "cross" else w for w in words}
    shapes, colours = singular & set(SHAPES), set(words) & set(COLOURS)
    return (not shapes or thing.shape in shapes) and (not colours or thing.colour in colours)


def test_counts_agree_with_the_things_that_the_question_names():
    found = 0
    for picture, question in _scene_questions("count"):
        expected = sum(_fits(thing, question.text) for thing in picture.things)
        assert matches("exact", question.answer, (str(expected),)), question
        found += 1
    assert found > 100


def test_existence_agrees_with_the_things_that_the_question_names():
    answers = []
    for picture, question in _scene_questions("exist"):
        there = any(_fits(thing, question.text) for thing in picture.things)
        assert question.answer == ("yes" if there else "no"), question
        answers.append(there)
    assert 0.35 < np.mean(answers) < 0.65


def test_the_colour_of_something_absent_is_unknown_and_has_a_guess():
    found = 0
    for picture, question in _scene_questions("colour"):
        if question.guess is not None:
            assert question.answer == "unknown" and question.guess in {t.colour for t in picture.things}
            assert not any(_fits(thing, question.text) for thing in picture.things)
            found += 1
    assert found > 20


def test_a_receipt_field_is_asked_only_where_ocr_read_it():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        picture = draw_receipt(rng)
        read = imitate_ocr(picture.facts["texts"], rng)
        for question in ask(picture, 8, rng, read):
            if question.kind in ("total", "date", "shop", "price"):
                assert any(question.answer in line for line in read)
        assert all(q.answer == "unknown" for q in ask(picture, 8, rng, None) if q.kind in ("total", "date", "shop"))


def test_held_out_phrasings_are_never_trained_on():
    for kind, every in PHRASINGS.items():
        assert len(set(every)) == len(every), kind
        trained, held = set(phrasings(kind, False)), set(phrasings(kind, True))
        assert len(held) == HELD_OUT and not trained & held and len(trained) >= 3
