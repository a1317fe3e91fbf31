"""Questions must be true of their picture, and the held-out phrasings unseen in training."""

import re
from collections import Counter
from functools import lru_cache
from string import Formatter

import numpy as np
import pytest

from vlm_demo.evaluation.answers import matches
from vlm_demo.training.worlds.phrasings import WAYS, choose, phrasings
from vlm_demo.training.worlds.questions import ask
from vlm_demo.training.worlds.scenes import draw_scene
from vlm_demo.training.worlds.world import COLOURS, SHAPES

TRAITS = {
    "large": "large", "big": "large", "small": "small", "little": "small", "hollow": "hollow", "empty": "hollow",
    "filled": "filled", "solid": "filled", "outlined": "outlined",
}  # fmt: skip
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()


@lru_cache(maxsize=1)
def _pictures_with_questions():
    """Pictures, each with up to 16 questions."""
    found = []
    for seed in range(320):
        rng = np.random.default_rng([8, seed])
        picture = draw_scene(rng)
        found.append((picture, ask(picture, 16, rng)))
    return found


def _of(*kinds):
    return [(picture, q) for picture, questions in _pictures_with_questions() for q in questions if q.kind in kinds]


def _singular(word):
    return word.removesuffix("es") if word == "crosses" else word if word == "cross" else word.removesuffix("s")


def _fits(thing, text):
    """Whether a thing is what the text names, by reading the text alone."""
    words = re.findall(r"[a-z]+", text.lower().replace("grey", "gray"))
    shapes, colours = {_singular(word) for word in words} & set(SHAPES), set(words) & set(COLOURS)
    traits = {TRAITS[word] for word in words if word in TRAITS}
    filled = {"filled"} if "hollow" not in thing.traits else set()
    return (
        (not shapes or thing.shape in shapes)
        and (not colours or thing.colour in colours)
        and traits <= filled | set(thing.traits)
    )


def _fitting(picture, text):
    return [i for i, thing in enumerate(picture.things) if thing.visible > 0.05 and _fits(thing, text)]


def _number(word):
    return int(word) if word.isdigit() else NUMBERS.index(word)


def _relation_holds(relation, a, b, side):
    """Whether a is left of (...) b, by the words of the relation; None near the border between yes and no."""
    truth = True
    for words, axis, sign in (
        ("left", 0, 1), ("right", 0, -1), ("above|over|higher|upper", 1, 1), ("below|under|lower", 1, -1)
    ):  # fmt: skip
        if re.search(words, relation):
            gap = sign * (b.centre[axis] - a.centre[axis]) / side
            if gap < -0.031:
                return False
            truth = truth and (True if gap > 0.031 else None)
    return truth


def test_many_kinds_of_question_are_asked_of_scenes():
    counts = Counter(question.kind for _, questions in _pictures_with_questions() for question in questions)
    assert len(counts) >= 38 and min(counts.values()) >= 2
    asked = sum(counts.values())
    assert asked > 13 * len(_pictures_with_questions()) and counts.most_common(1)[0][1] / asked < 0.15


def test_the_same_seed_asks_the_same_questions():
    def questions():
        rng = np.random.default_rng(3)
        return ask(draw_scene(rng), 16, rng)

    assert questions() == questions()


def test_counts_agree_with_the_things_that_the_question_names():
    found = _of("count")
    for picture, question in found:
        expected = _fitting(picture, question.text)
        assert matches("exact", question.answer, (str(len(expected)),)), question
        assert sorted(question.about) == expected
    assert len(found) > 150


def test_existence_agrees_with_the_things_that_the_question_names():
    found = _of("exist")
    for picture, question in found:
        assert question.answer == ("yes" if _fitting(picture, question.text) else "no"), question
        assert sorted(question.about) == _fitting(picture, question.text)
    assert len(found) > 150


def test_the_colour_of_something_absent_is_unknown_and_has_a_guess():
    unknown = 0
    for picture, question in _of("colour"):
        fitting = _fitting(picture, question.text)
        if question.guess is None:
            assert {picture.things[i].colour for i in fitting} == {question.answer}
        else:
            assert question.answer == "unknown" and question.guess in {t.colour for t in picture.things}
            assert not fitting and question.about == ()
            unknown += 1
    assert unknown > 30


@pytest.mark.parametrize("kind", ["relation", "any relation"])
def test_a_relation_holds_if_any_pair_is_so(kind):
    """The things are read from the question's words alone."""
    checked = 0
    for picture, question in _of(kind):
        text = re.sub("right that|right\\?|lies?|located|placed", " ", question.text.lower())
        words = "to the (?:left|right) of|left of|right of|above|over|higher than|below|under|lower than"
        found = re.search(rf"(.*?)(?:{words})(.*)", text)
        if question.guess is not None or not found:
            continue
        ones, twos = _fitting(picture, found[1]), _fitting(picture, found[2])
        relation = text[found.end(1) : found.start(2)]
        side = max(picture.image.size)
        pairs = [(i, j) for i in ones for j in twos if i != j]
        answers = [_relation_holds(relation, picture.things[i], picture.things[j], side) for i, j in pairs]
        if True in answers:
            assert question.answer == "yes", question
        elif None not in answers:
            assert question.answer == "no", question
        checked += 1
    assert checked > 60


COUNTED = re.compile(
    r"\b(exactly|at least|at most|more than|less than|fewer than) (\w+) ([\w ]+?)(?:[.,:?]|$| true| right)"
)
TESTS = {
    "exactly": lambda n, k: n == k,
    "at least": lambda n, k: n >= k,
    "at most": lambda n, k: n <= k,
    "more than": lambda n, k: n > k,
    "less than": lambda n, k: n < k,
    "fewer than": lambda n, k: n < k,
}


def test_statements_that_count_are_true_of_their_picture():
    checked = 0
    for picture, question in _of("yes statement", "true statement", "number"):
        text = question.text.lower()
        found = COUNTED.search(text)
        joined = re.search(r"\b(and|or|box|boxes)\b", text.replace("true or", "true").replace("yes or", "yes"))
        if joined or not found or found[2] not in NUMBERS:
            continue
        truth = TESTS[found[1]](len(_fitting(picture, found[3])), _number(found[2]))
        assert (question.answer in ("yes", "true")) == truth, question
        checked += 1
    assert checked > 60


def test_statements_of_all_are_true_of_their_picture():
    checked = 0
    forms = ((r"\b(?<!not )all (?:of the |the )?([\w ]+?) are ([\w ]+?)(?:[.,:?]|$)", lambda n, m: n == m),)
    for picture, question in _of("yes statement", "true statement", "every"):
        text = question.text.lower()
        if re.search(r"\b(and|or|if .* then|but|box|boxes|at most)\b", text.replace("true or", "true")):
            continue
        for form, test in forms:
            found = re.search(form, text)
            if found:
                group, both = _fitting(picture, found[1]), _fitting(picture, f"{found[1]} {found[2]}")
                assert (question.answer in ("yes", "true")) == test(len(both), len(group)), question
                checked += 1
    assert checked > 15


def test_what_is_largest_or_furthest_left_is_so_among_those_that_are_named():
    checked = 0
    for picture, question in _of("extreme", "extreme colour"):
        (chosen,) = question.about
        things, text = picture.things, question.text.lower()
        rivals = [i for i in _fitting(picture, text) if i != chosen]
        for words, key in (
            ("largest|biggest", lambda t: -t.area),
            ("smallest|tiniest", lambda t: t.area),
            ("leftmost|left-most", lambda t: t.centre[0]),
            ("rightmost|right-most", lambda t: -t.centre[0]),
        ):
            if re.search(words, text):
                assert all(key(things[chosen]) < key(things[i]) for i in rivals), question
                checked += 1
        shown = things[chosen].shape if question.kind == "extreme" else things[chosen].colour
        assert question.answer == shown
    assert checked > 40


def test_a_list_names_each_colour_once_from_the_left():
    found = _of("colours", "kinds")
    for picture, question in found:
        names = re.split(", | and ", question.answer)
        attribute = "colour" if question.kind == "colours" else "shape"
        values = [getattr(t, attribute) for t in sorted(picture.things, key=lambda t: t.centre[0])]
        assert names == list(dict.fromkeys(values))
    assert len(found) > 40


def test_things_in_boxes_are_counted_by_box():
    found = _of("count in box", "exist in box")
    places = {"left": 0, "leftmost": 0, "first": 0, "second": 1, "middle": 1, "center": 1, "third": 2, "fourth": 3}
    for picture, question in found:
        boxes = picture.facts["boxes"]
        name = re.search(r"the (\w+) box", question.text.lower())[1]
        box = boxes[places.get(name, len(boxes) - 1)]
        text = re.sub(r"the \w+ box", "", question.text.lower())
        inside = [i for i in _fitting(picture, text) if box[0] <= picture.things[i].centre[0] < box[2]]
        assert sorted(question.about) == inside, question
        expected = ("yes" if inside else "no") if question.kind == "exist in box" else str(len(inside))
        assert matches("exact", question.answer, (expected,))
    assert len(found) > 30


def test_a_second_turn_names_what_differs_and_is_answered_alike():
    followed = [(picture, q) for picture, q in _of("colour", "count", "exist", "where") if q.follow]
    assert 0.05 < len(followed) / len(_of("colour", "count", "exist", "where")) < 0.2
    for picture, question in followed:
        follow = question.follow
        fitting = _fitting(picture, follow.text)
        assert follow.text != question.text and follow.follow is None
        if follow.guess is not None:
            assert not fitting and follow.answer == "unknown"
        elif question.kind == "colour":
            assert {picture.things[i].colour for i in fitting} == {follow.answer}
        elif question.kind == "count":
            assert matches("exact", follow.answer, (str(len(fitting)),))
        elif question.kind == "exist":
            assert follow.answer == ("yes" if fitting else "no")
        else:
            assert len(fitting) == 1
    assert {q.follow.kind for _, q in followed} == {"follow thing", "follow plural", "follow exist"}


def test_yes_and_no_are_as_frequent_and_answers_are_about_things_of_the_picture():
    answers = {}
    for picture, questions in _pictures_with_questions():
        for question in questions:
            if question.answer in ("yes", "no"):
                answers.setdefault(question.kind, []).append(question.answer == "yes")
            assert all(0 <= i < len(picture.things) for i in question.about)
            assert (question.guess is None) == (question.answer != "unknown")
    large = {kind: np.mean(values) for kind, values in answers.items() if len(values) > 90}
    assert len(large) >= 6
    assert all(0.33 < share < 0.67 for share in large.values()), large
    assert 0.45 < np.mean([value for values in answers.values() for value in values]) < 0.55


def _bare_words(template):
    """The words alone, with the same noun for every picture."""
    return re.findall(r"[a-z{}']+", template.lower().replace("this {image}", "the {image}"))


def test_held_out_phrasings_are_never_trained_on():
    rng = np.random.default_rng(0)
    for kind in WAYS:
        trained, held = phrasings(kind, False), phrasings(kind, True)
        assert len(set(trained)) == len(trained) and len(held) == 2 and len(trained) >= 3, kind
        held_words = [_bare_words(template) for template in held]
        assert not any(_bare_words(template) in held_words for template in trained), kind
        assert all(_bare_words(choose(kind, rng, False)) not in held_words for _ in range(200)), kind


def test_every_phrasing_can_be_filled_and_asked():
    for kind in WAYS:
        names = [
            {name for _, name, _, _ in Formatter().parse(template) if name}
            for template in (*phrasings(kind, False), *phrasings(kind, True))
        ]
        allowed = set.union(*names)
        for template in (*phrasings(kind, False), *phrasings(kind, True)):
            text = template.format(**dict.fromkeys(allowed, "word"))
            assert "{" not in text and "  " not in text and text.rstrip("?."), template


def test_every_phrasing_of_a_kind_asks_for_all_that_it_needs():
    """A field that only some phrasings of a kind name would leave the others with several answers."""
    free = {"color", "image", "objects", "are"}
    either = {"exist": {"obj", "plural"}, "exist in box": {"obj", "plural"}, "any relation": {"obj", "one"}}
    for kind in {question.kind for _, questions in _pictures_with_questions() for question in questions} | {
        "follow exist"
    }:
        needed = set()
        named = []
        for template in (*phrasings(kind, False), *phrasings(kind, True)):
            fields = {name for _, name, _, _ in Formatter().parse(template) if name} - free
            alternatives = either.get(kind, {"obj", "plural"} if kind == "follow exist" else set())
            named.append(frozenset(fields - alternatives) | ({"either"} if fields & alternatives else set()))
            needed |= named[-1]
        assert all(fields == needed for fields in named), (kind, Counter(named))
