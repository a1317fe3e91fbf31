"""Questions must be true of their picture, and the held-out phrasings unseen in training."""

import re

import numpy as np

from vlm_demo.evaluation.answers import matches
from vlm_demo.synthetic.phrasings import WAYS, choose, phrasings
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


def _spoken(template):
    """The words alone, as they would be heard, with the same noun for every picture."""
    return re.findall(r"[a-z{}']+", template.lower().replace("this {image}", "the {image}"))


def test_held_out_phrasings_are_never_trained_on():
    rng = np.random.default_rng(0)
    for kind in WAYS:
        trained, held = phrasings(kind, False), phrasings(kind, True)
        assert len(set(trained)) == len(trained) and len(held) == 2 and len(trained) >= 3, kind
        never = [_spoken(template) for template in held]
        assert not any(_spoken(template) in never for template in trained), kind
        assert all(_spoken(choose(kind, rng, False)) not in never for _ in range(200)), kind


def test_every_phrasing_can_be_filled_and_asked():
    fields = dict.fromkeys(
        "obj plural tint color image objects other relation extreme wanted others most label".split()
    )
    fields |= dict.fromkeys("taller statement field item".split())
    for kind in WAYS:
        for template in (*phrasings(kind, False), *phrasings(kind, True)):
            text = template.format(**dict.fromkeys(fields, "word"))
            assert "{" not in text and "  " not in text and text.rstrip("?.") and text[-1] in "?.", template
