"""Screens show what their facts say, and their questions are true of them."""

import re
from functools import lru_cache

import numpy as np
import pytest

from tests.training.worlds.colours import colour_distance
from vlm_demo.training.worlds.screen_questions import AIMS, NEGATED, ScreenAsker
from vlm_demo.training.worlds.screens import draw_screen
from vlm_demo.training.worlds.world import WIDGETS, number_word, plural_of

pytestmark = pytest.mark.slow


@lru_cache(maxsize=1)
def screens():
    return [draw_screen(np.random.default_rng([5, seed])) for seed in range(50)]


@lru_cache(maxsize=1)
def asked():
    """(picture, question) with OCR on, of every kind; a second turn counts as another question."""
    found = []
    for number, picture in enumerate(screens()):
        for form in ScreenAsker(picture, np.random.default_rng(number), picture.facts["texts"]).forms():
            for _ in range(3):
                question = form.make()
                while question is not None:
                    found.append((picture, question))
                    question = question.follow
    return found


def of(*kinds):
    return [(picture, question) for picture, question in asked() if question.kind in kinds]


def pixels(picture, box):
    x0, y0, x1, y1 = (round(v) for v in box)
    return np.asarray(picture.image)[max(0, y0) : y1, max(0, x0) : x1].reshape(-1, 3).astype(float)


def test_the_same_seed_draws_the_same_screen():
    for seed in range(4):
        one, two = draw_screen(np.random.default_rng(seed)), draw_screen(np.random.default_rng(seed))
        assert one.image.tobytes() == two.image.tobytes() and one.facts == two.facts


def test_every_widget_is_drawn_inside_the_picture_and_with_its_words():
    seen = set()
    for picture in screens():
        for thing in picture.things:
            x0, y0, x1, y1 = thing.box
            assert -0.5 <= x0 < x1 <= picture.image.width + 0.5 and -0.5 <= y0 < y1 <= picture.image.height + 0.5
            inside = [
                word.text for line in picture.facts["words"] for word in line
                if x0 - 1 <= word.box[0] and word.box[2] <= x1 + 1 and y0 - 3 <= word.box[1] and word.box[3] <= y1 + 3
            ]  # fmt: skip
            assert set(thing.text.split()) <= set(inside), thing
            seen.add(thing.shape)
    assert seen == {*WIDGETS, "text"}


def test_a_widget_has_the_named_colour():
    wrong = checked = 0
    for picture in screens():
        for thing in picture.things:
            if thing.colour:
                near = colour_distance(pixels(picture, thing.box)[::7], thing.colour) < 45
                checked, wrong = checked + 1, wrong + (np.mean(near) < 0.01)
    assert checked > 60 and wrong / checked < 0.04


def test_what_is_on_or_selected_shows_its_colour_and_what_is_not_does_not():
    for picture in screens():
        rgbs = {}
        for thing in picture.things:
            if thing.shape in ("switch", "checkbox") and thing.facts.get("on"):
                rgbs[thing.shape] = thing.colour
        for thing in picture.things:
            if thing.shape in rgbs and thing.facts.get("on") is False:
                near = colour_distance(pixels(picture, thing.box), rgbs[thing.shape]) < 30
                assert np.mean(near) < 0.02


def test_counts_and_existence_agree_with_the_widgets():
    checked = 0
    for picture, question in of("count", "exist"):
        fitting = [
            thing for thing in picture.things
            if question.fields["obj"]
            in (thing.shape, f"{thing.colour} {thing.shape}", "heading" * (thing.shape == "text"))
        ]  # fmt: skip
        if re.search("element|grey|gray", question.fields["obj"]):
            continue
        expected = number_word(len(fitting)) if question.kind == "count" else ("yes" if fitting else "no")
        assert question.answer == expected, question
        checked += 1
    assert checked > 100


def test_words_are_those_of_the_widget_that_is_described():
    checked = 0
    for picture, question in of("widget text", "chosen", "press", "next one", "other one"):
        if question.guess is not None:
            assert question.answer == "unknown"
            continue
        (i,) = question.about
        assert picture.things[i].text == question.answer and question.answer in " ".join(picture.facts["texts"])
        if question.kind == "press":
            assert question.fields["aim"] in AIMS[question.answer]
        if question.kind == "chosen":
            assert {"on", "selected"} & set(picture.things[i].traits)
        checked += 1
    assert checked > 100


def test_a_state_is_that_of_the_widget():
    seen = set()
    for picture, question in of("state"):
        (i,) = question.about
        on = bool({"on", "selected"} & set(picture.things[i].traits))
        positive = question.fields["state"] not in NEGATED.values()
        assert (question.answer == "yes") == (positive == on), question
        seen.add((question.kind, question.answer))
    assert {("state", "yes"), ("state", "no")} <= seen


def test_labels_titles_and_values_are_those_that_are_printed():
    for picture, question in of("labels", "field value", "screen title", "screen heading", "dialog title", "theme"):
        if question.guess is not None:
            continue
        if question.kind == "labels":
            names = [t.text for t in picture.things if plural_of(t.shape) == question.fields["plural"]]
            assert re.split(", | and ", question.answer) == re.split(", | and ", " and ".join(names))
        elif question.kind == "theme":
            assert (question.answer == "dark") == (np.median(np.asarray(picture.image.convert("L"))) < 128)
        elif question.kind == "field value":
            assert question.answer in {t.facts.get("value") for t in picture.things}
        else:
            shape = {"screen title": "app bar", "screen heading": "text", "dialog title": "dialog"}[question.kind]
            assert question.answer in {t.text for t in picture.things if t.shape == shape}


def test_without_ocr_no_words_are_known():
    for number, picture in enumerate(screens()[:20]):
        forms = ScreenAsker(picture, np.random.default_rng(number), None).forms()
        for question in filter(None, (form.make() for form in forms for _ in range(3))):
            assert not (question.copied and question.guess is None)
            if question.kind in ("widget text", "chosen", "field value", "screen title"):
                assert question.answer == "unknown" and question.guess
