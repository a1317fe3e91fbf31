"""A caption is true of its picture, and false with one word changed."""

import re
from collections import Counter

import numpy as np
import pytest

from vlm_demo.training.worlds.areas import AREAS
from vlm_demo.training.worlds.captions import claim, full
from vlm_demo.training.worlds.world import COLOURS, SHAPES, DrawnPicture, Thing, number_word, zone

DRAWN = 40


def _drawn(area, n=DRAWN):
    for i in range(n):
        rng = np.random.default_rng([17, i])
        yield AREAS[area].draw(rng, False), rng


def _words(text):
    return re.findall(r"\w+", re.sub(r"\ban\b", "a", text))


@pytest.mark.slow
@pytest.mark.parametrize("area", list(AREAS))
def test_true_and_wrong_differ_in_one_place(area):
    seen = 0
    for picture, rng in _drawn(area, 80 if area == "scenes" else 12):
        for caption in filter(None, (full(picture, rng), claim(picture, rng))):
            one, two = _words(caption.true), _words(caption.wrong)
            assert one != two
            while one and two and one[0] == two[0]:
                one, two = one[1:], two[1:]
            while one and two and one[-1] == two[-1]:
                one, two = one[:-1], two[:-1]
            assert max(len(one), len(two)) <= 3, caption  # "scatter plot" for "grouped bar chart"
            seen += 1
    assert seen > 8


def _pairs(text):
    colours, shapes = "|".join(COLOURS), "|".join(SHAPES)
    return re.findall(rf"\b({colours}) ({shapes})\b", text)


def test_a_list_of_a_scene_names_what_is_there_and_the_wrong_one_something_that_is_not():
    seen = 0
    for picture, rng in _drawn("scenes", 80):
        caption = full(picture, rng)
        if caption is None or ";" in caption.true or " on a " in caption.true:
            continue
        present = Counter((t.colour, t.shape) for t in picture.things if t.visible > 0.05)
        named, wrong = Counter(_pairs(caption.true)), Counter(_pairs(caption.wrong))
        assert named <= present and not wrong <= present
        if "many" not in caption.true:
            assert named == present
        seen += 1
    assert seen > 25


def test_the_text_alone_does_not_show_which_is_true():
    """A classifier that knows how often each word and pair of words was in a true and in a wrong caption (naive Bayes),
    learnt from half of them, must do little better than a coin on the others."""

    def parts(text):
        words = _words(text)
        return {*words, *zip(words, words[1:], strict=False)}

    captions = [caption for picture, rng in _drawn("scenes", 360) if (caption := full(picture, rng))]
    half = len(captions) // 2
    true, wrong = (Counter(p for c in captions[:half] for p in parts(getattr(c, k))) for k in ("true", "wrong"))
    odds = {part: np.log((true[part] + 1) / (wrong[part] + 1)) for part in {*true, *wrong}}
    right = [
        sum(odds.get(p, 0) for p in parts(c.true)) - sum(odds.get(p, 0) for p in parts(c.wrong))
        for c in captions[half:]
    ]
    assert np.mean([value > 0 for value in right]) < 0.68


def _square(x, y, shape, colour, side=20):
    corners = np.array([(0, 0), (side, 0), (side, side), (0, side)], dtype=float) + (x, y)
    return Thing(shape, colour, corners)


@pytest.fixture
def planted():
    """A red square and a red triangle at the top left, a blue star at the bottom right."""
    from PIL import Image

    things = (_square(5, 5, "square", "red"), _square(40, 5, "triangle", "red"), _square(170, 170, "star", "blue", 25))
    facts = {"boxes": (), "rgbs": [(255, 0, 0), (255, 0, 0), (0, 0, 255)], "background": "white", "groups": ()}
    return DrawnPicture("scenes", Image.new("RGB", (200, 200), "white"), things, facts)


def _is_true(text, picture):
    """Evaluated from the planted things alone; None for a form that is not evaluated here."""
    things = picture.things
    obj = r"the (?:(?P<c>red|blue) )?(?P<s>square|triangle|star|shape|object|thing)s?"

    def fitting(colour, shape):
        return [t for t in things if colour in (None, t.colour) and shape in (t.shape, "shape", "object", "thing")]

    if m := re.fullmatch(r"there is (?P<n>an?|no) (?:(?P<c>\w+) )?(?P<s>\w+)", text):
        return bool(fitting(m["c"], m["s"])) == (m["n"] != "no")
    if m := re.fullmatch(obj + r" is at the (?P<place>[\w ]+)", text):
        (thing,) = fitting(m["c"], m["s"])
        return zone(thing, picture.image.size) == m["place"]
    if m := re.fullmatch(r"(?P<n>\w+) (?:(?P<c>\w+) )?(?P<s>squares|triangles|stars|shapes|objects|things)", text):
        return number_word(len(fitting(m["c"], m["s"][:-1]))) == m["n"]
    if m := re.fullmatch(r"on an? (\w+) background", text):
        return m[1] == "white"
    if m := re.fullmatch(obj + r" is (?P<colour>" + "|".join(COLOURS) + ")", text):
        return all(t.colour == m["colour"] for t in fitting(m["c"], m["s"]))
    return None


def test_claims_of_a_planted_scene_are_true_and_their_changes_false(planted):
    checked = Counter()
    for i in range(300):
        caption = claim(planted, np.random.default_rng(i))
        truth = _is_true(caption.true, planted)
        if truth is not None:
            assert truth is True and _is_true(caption.wrong, planted) is False, caption
            checked[caption.true.split()[0]] += 1
    assert sum(checked.values()) > 100 and {"there", "the", "two"} <= set(checked)


def test_opposite_directions_are_certain(planted):
    captions = {claim(planted, np.random.default_rng(i), ("relation",)) for i in range(60)} - {None}
    sides = {c.true for c in captions if re.search(r"(?<!upper )(?<!lower )(?:left of|right of)", c.true)}
    assert len(captions) > 5 and sides
    for caption in captions:
        before, after = caption.true.split(" is ", 1)[0], caption.true
        if "star" in before:
            assert not re.search(r"\b(left|above|over|higher|upper)\b", after), caption
        assert caption.true.count(" ") - caption.wrong.count(" ") in (-1, 0, 1)
