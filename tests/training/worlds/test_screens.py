"""Screens must show what their truth says, and their questions must be true of it."""

import json
from collections import Counter, defaultdict
from importlib.resources import files
from string import Formatter

import numpy as np
import pytest

from tests.training.worlds.colours import colour_distance
from vlm_demo.training.worlds import screen_questions
from vlm_demo.training.worlds.phrasings import WAYS, phrasings
from vlm_demo.training.worlds.printed import texts
from vlm_demo.training.worlds.screen_sheet import lines
from vlm_demo.training.worlds.screens import COMPONENTS, component, draw_screen
from vlm_demo.training.worlds.world import COLOURS, NOUNS, TRAITS

READ = (
    "widget text",
    "screen title",
    "screen heading",
    "dialog title",
    "field value",
    "field label",
    "press",
    "chosen",
)


def _screens(n, start=0):
    return [draw_screen(np.random.default_rng([start, seed])) for seed in range(n)]


SCREENS = _screens(160)


def _asked(picture, rng, read, tries=40):
    """Questions of all kinds, made by weight; a follow-up counts as one of its own."""
    weighted = screen_questions.makers(picture, rng, read)
    weights = np.array([weight for weight, _ in weighted])
    for i in rng.choice(len(weighted), tries, p=weights / weights.sum()):
        made = weighted[int(i)][1]()
        while made is not None:
            yield made
            made = made.follow


@pytest.fixture(scope="module")
def asked():
    """(picture, question) with OCR on, of every kind."""
    found = defaultdict(list)
    for number, picture in enumerate(SCREENS):
        for made in _asked(picture, np.random.default_rng(number), picture.facts["texts"]):
            found[made.kind].append((picture, made))
    return found


def _pixels(picture, box):
    x0, y0, x1, y1 = (round(v) for v in box)
    return np.asarray(picture.image)[max(y0, 0) : y1, max(x0, 0) : x1].reshape(-1, 3).astype(float)


def _commonest(pixels):
    codes, counts = np.unique(pixels.astype(int) @ (65536, 256, 1), return_counts=True)
    code = int(codes[counts.argmax()])
    return np.array([code >> 16, code >> 8 & 255, code & 255], dtype=float)


def test_the_same_seed_draws_the_same_screen():
    one, two, other = (draw_screen(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(np.asarray(one.image), np.asarray(two.image)) and one.facts == two.facts
    assert one.image.size != other.image.size or not np.array_equal(np.asarray(one.image), np.asarray(other.image))
    serif = draw_screen(np.random.default_rng(5), held_out=True)
    assert not np.array_equal(np.asarray(one.image), np.asarray(serif.image))


def test_every_component_and_both_themes_are_drawn():
    assert {picture.facts["component"] for picture in SCREENS} >= {"", *list(COMPONENTS)[:8]}
    for name in COMPONENTS:
        for seed in range(8):
            picture = component(name, np.random.default_rng(seed))
            assert picture.things and max(picture.image.size) <= 720, name
            assert all(
                t.shape in NOUNS and t.colour in COLOURS and set(t.traits) <= set(TRAITS) for t in picture.things
            )
    assert 0.3 < np.mean([picture.facts["dark"] for picture in SCREENS]) < 0.6


def test_things_lie_inside_the_picture():
    for picture in SCREENS:
        width, height = picture.image.size
        for thing in picture.things:
            x0, y0, x1, y1 = thing.box
            assert x0 > -5 and y0 > -5 and x1 < width + 5 and y1 < height + 5, thing


def test_what_has_a_sure_colour_shows_it():
    checked = 0
    for picture in SCREENS[:80]:
        for i, part in picture.facts["sure"].items():
            thing = picture.things[i]
            if thing.shape in ("button", "chip") and part == "":
                checked += 1
                assert colour_distance(_commonest(_pixels(picture, thing.box)), thing.colour) < 30, thing
            elif thing.shape in ("tab", "switch", "checkbox", "slider"):
                checked += 1
                near = {tuple(pixel // 8 * 8 + 4) for pixel in _pixels(picture, thing.box)}
                assert min(colour_distance(pixel, thing.colour) for pixel in near) < 30, thing
    assert checked > 60


def test_a_dark_screen_is_dark():
    plain = [picture for picture in SCREENS if not picture.facts["component"]]
    plain = [picture for picture in plain if all(thing.shape != "dialog" for thing in picture.things)]
    for picture in plain:
        back = _commonest(_pixels(picture, (0, 0, *picture.image.size)))
        assert (back.mean() < 128) == picture.facts["dark"]


def test_a_switch_that_is_on_shows_its_colour_at_the_left_and_its_knob_at_the_right():
    found = Counter()
    for seed in range(200):
        picture = component("switch", np.random.default_rng(seed))
        thing = picture.things[0]
        if thing.text:
            continue
        x0, y0, x1, y1 = (round(v) for v in thing.box)
        end = round((y1 - y0) * 1.5 / 2.6 / 2) + 2  # from the outline to the middle of the knob
        left, right = (np.array(picture.image.getpixel((x, (y0 + y1) // 2)), float) for x in (x0 + end, x1 - end))
        colour = picture.facts["sure"].get(0)
        found[colour] += 1
        assert ("on" in thing.traits) == (colour == "") != ("off" in thing.traits)
        assert np.linalg.norm(left - right) > 30
        if colour == "":
            assert colour_distance(left, thing.colour) < 30 < colour_distance(right, thing.colour)
    assert min(found.values()) > 5 and len(found) == 2


def test_one_of_tabs_navigation_items_and_radio_buttons_is_selected():
    for picture in SCREENS:
        for shape in ("tab", "navigation item"):
            among = [thing for thing in picture.things if thing.shape == shape]
            assert not among or sum("selected" in thing.traits for thing in among) == 1


def test_printed_lines_run_from_the_top_and_from_the_left():
    found = lines([(50, 0, 90, 10, "b d"), (0, 2, 40, 12, "a"), (0, 30, 10, 40, "c")])
    assert texts(found) == ["a b d", "c"]
    assert [word.box for word in found[0]] == [(0, 2, 40, 12), (50, 0, 63, 10), (77, 0, 90, 10)]
    for picture in SCREENS:
        printed = picture.facts["texts"]
        for thing in picture.things:
            if thing.shape in ("button", "tab", "chip", "navigation item", "checkbox", "app bar"):
                assert any(thing.text in line for line in printed), (thing, texts)
        tabs = sorted((t.centre[0], t.text) for t in picture.things if t.shape == "tab")
        if tabs:
            assert any(" ".join(text for _, text in tabs) in line for line in printed)


def test_every_kind_of_question_is_asked(asked):
    own = {kind for kind in WAYS if kind in asked}
    assert own >= {
        *READ, "next one", "other one", "chosen place", "labels", "says exist", "state", "either state", "theme",
        "element", "count", "colour", "exist", "where", "relation", "compare", "describe", "medium", "yes statement",
        "true statement",
    }  # fmt: skip
    assert set(asked) <= set(WAYS)


def test_every_phrasing_names_what_its_question_needs(asked):
    file = files(screen_questions.__package__) / "ways" / "screens.json"
    free = {"color", "image", "objects"}
    for kind in json.loads(file.read_text()):
        needed = set(asked[kind][0][1].fields)
        assert all(set(made.fields) == needed for _, made in asked[kind]), kind
        for template in (*phrasings(kind, False), *phrasings(kind, True)):
            assert {name for _, name, _, _ in Formatter().parse(template) if name} - free == needed, (kind, template)


def test_words_are_unknown_without_ocr_and_copied_with_it(asked):
    for picture in SCREENS[:80]:
        for made in _asked(picture, np.random.default_rng(1), None, 20):
            assert not made.copied
            if made.kind in READ:
                assert made.answer == "unknown" and made.guess
    for kind in READ:
        shares = [made.guess is not None for _, made in asked[kind]]
        assert np.mean(shares) < 0.5, kind
        for picture, made in asked[kind]:
            if made.guess is None:
                assert made.copied == made.answer and any(made.answer in line for line in picture.facts["texts"])
                (thing,) = made.looks[0][1]
                fields = picture.facts["fields"].get(thing, {})
                assert made.answer in (picture.things[thing].text, *fields.values())


def test_words_that_ocr_misread_are_not_asked_for():
    for picture in SCREENS[:60]:
        for made in _asked(picture, np.random.default_rng(2), ["nothing"], 20):
            assert not made.copied and (made.kind not in READ or made.guess is not None)


def test_the_chosen_one_is_in_the_state_that_is_asked_for(asked):
    opposite = ("off", "turned off", "unchecked", "not checked")
    for picture, made in asked["chosen"]:
        if made.guess is not None:
            continue
        thing = picture.things[made.looks[0][1][0]]
        state = made.fields["state"]
        if state in ("disabled", "grayed out", "inactive"):
            assert "disabled" in thing.traits
        else:
            assert ("off" in thing.traits) == (state in opposite)
    for picture, made in asked["chosen place"]:
        if made.guess is None:
            thing = picture.things[made.looks[0][1][0]]
            row = [t for t in picture.things if t.shape == thing.shape]
            axis = int(np.ptp([t.box[1] for t in row]) > np.ptp([t.box[0] for t in row]))
            place = sum(t.box[axis] < thing.box[axis] for t in row)
            assert made.answer == ("first", "second", "third", "fourth", "fifth")[place]


def test_counts_and_existence_agree_with_the_things(asked):
    words = "zero one two three four five six seven eight nine ten eleven twelve".split()
    nouns = {"buttons": "button", "tabs": "tab", "chips": "chip", "list items": "list item", "sliders": "slider"}
    found = 0
    for picture, made in [*asked["count"], *asked["exist"]]:
        shape = nouns.get(made.fields["plural"])
        if shape:
            n = sum(thing.shape == shape for thing in picture.things)
            assert made.answer == (words[n] if made.kind == "count" else "yes" if n else "no")
            found += 1
    assert found > 100


def test_answers_are_balanced(asked):
    for kind in ("exist", "says exist", "state", "yes statement", "relation"):
        answers = [made.answer == "yes" for _, made in asked[kind] if made.guess is None]
        assert len(answers) > 30 and 0.3 < np.mean(answers) < 0.7, kind
    for made in (made for _, made in asked["either state"] if made.guess is None):
        assert made.answer in (made.fields["state"], made.fields["other"])
    firsts = [made.answer == made.fields["state"] for _, made in asked["either state"] if made.guess is None]
    assert 0.4 < np.mean(firsts) < 0.6


def test_looks_are_of_the_picture_and_lists_name_theirs(asked):
    for pairs in asked.values():
        for picture, made in pairs:
            assert all(i < len(picture.things) for _, among in made.looks for i in among)
    for picture, made in asked["labels"]:
        for at, (thing,) in made.looks:
            assert made.answer[at:].startswith(picture.things[thing].text)
