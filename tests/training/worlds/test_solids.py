"""The solids' truth must be that of their pixels and places, and the questions' that of the solids."""

import colorsys
import re
import time
from collections import Counter
from functools import lru_cache

import numpy as np
import pytest

from vlm_demo.training.worlds.asking import Made
from vlm_demo.training.worlds.phrasings import WAYS
from vlm_demo.training.worlds.solid_questions import makers
from vlm_demo.training.worlds.solids import FAR, LEAST, TINTS, Solid, draw_solids
from vlm_demo.training.worlds.world import COLOURS, SOLIDS, instance_map, number_word

SAID = {
    "ball": "sphere", "block": "cube", "metallic": "metal", "shiny": "metal", "matte": "rubber", "big": "large",
    "little": "small", "tiny": "small", "grey": "gray",
}  # fmt: skip
TRAITS = {*SOLIDS, *TINTS, "metal", "rubber", "large", "small"}


@lru_cache(maxsize=1)
def _pictures():
    return [draw_solids(np.random.default_rng([6, seed])) for seed in range(60)]


@lru_cache(maxsize=1)
def _asked():
    """Every question that a few tries of every maker give: [(picture, question)]."""
    found = []
    for seed, picture in enumerate(_pictures()):
        for _, make in makers(picture, np.random.default_rng([7, seed]), None):
            found += [(picture, made) for made in (make() for _ in range(4)) if made]
    return found


def _of(*kinds) -> list:
    return [(picture, made) for picture, made in _asked() if made.kind in kinds]


def _features(thing):
    return {thing.shape, thing.colour, *thing.traits}


def _fitting(picture, text):
    """Which things have all that the text names, by reading the text alone."""
    words = [SAID.get(word, word) for word in (w.removesuffix("s") for w in re.findall(r"[a-z]+", text))]
    wanted = set(words) & TRAITS
    return [i for i, thing in enumerate(picture.things) if wanted <= _features(thing)]


def _holds(relation, picture, i, j):
    """Whether thing i is so to thing j; None near the border between yes and no."""
    truth = True
    for word, axis, sign in (("left", 0, -1), ("right", 0, 1), ("front", 1, -1), ("behind", 1, 1)):
        if word in relation:
            gap = sign * (picture.facts["positions"][i][axis] - picture.facts["positions"][j][axis])
            if gap < -0.4:
                return False
            truth = truth and (True if gap > 0.4 else None)
    return truth


def _solid(shape, yaw=0.0):
    return Solid(shape, "red", "rubber", "large", 1.0, 2.0, yaw, np.ones(3, np.float32))


def _ray(solid, start, along):
    return float(solid.hit(np.array(start, np.float32), np.array([along], np.float32))[0])


# The pictures.


def test_rays_meet_solids_where_geometry_says():
    sphere, cube, turned, cylinder = (
        _solid("sphere"), _solid("cube"), _solid("cube", np.pi / 4), _solid("cylinder")
    )  # fmt: skip
    above, before = (1.0, 2.0, 10.0), (1.0, -8.0, 0.3)
    for solid in (sphere, cube, turned, cylinder):
        assert _ray(solid, above, (0, 0, -1)) == pytest.approx(10 - 2 * solid.half, abs=1e-4)
        assert _ray(solid, (4.0, 2.0, 10.0), (0, 0, -1)) == FAR
        assert _ray(solid, above, (0, 0, 1)) == FAR
    assert _ray(cube, before, (0, 1, 0)) == pytest.approx(10 - cube.half, abs=1e-4)
    assert _ray(turned, before, (0, 1, 0)) == pytest.approx(10 - cube.half * np.sqrt(2), abs=1e-3)
    assert _ray(cylinder, before, (0, 1, 0)) == pytest.approx(10 - cylinder.half, abs=1e-4)
    assert _ray(sphere, before, (0, 1, 0)) == pytest.approx(10 - np.sqrt(0.7**2 - 0.4**2), abs=1e-4)
    assert turned.normal(np.array([[1.3, 1.7, 0.4]], np.float32))[0] == pytest.approx([0.707, -0.707, 0], abs=0.01)


def test_the_same_seed_draws_the_same_picture():
    one, two = draw_solids(np.random.default_rng(5)), draw_solids(np.random.default_rng(5))
    assert np.array_equal(np.asarray(one.image), np.asarray(two.image)) and np.array_equal(one.seen, two.seen)
    assert one.facts == two.facts and one.image.mode == "RGB" and one.kind == "solids"
    assert one.image.tobytes() != draw_solids(np.random.default_rng(6)).image.tobytes()


def test_the_map_and_the_outlines_show_the_same_things():
    for picture in _pictures():
        assert picture.seen.shape == picture.image.size[::-1] and picture.seen.max() == len(picture.things)
        assert set(np.unique(instance_map(picture, 160))) == set(range(len(picture.things) + 1))
        for i, thing in enumerate(picture.things):
            mine = picture.seen == i + 1
            at = np.argwhere(mine)[:, ::-1] + 0.5
            along = np.roll(thing.outline, -1, 0) - thing.outline
            off = at[:, None] - thing.outline
            side = (along[:, 0] * off[..., 1] - along[:, 1] * off[..., 0]) / np.hypot(*along.T)  # negative = outside
            assert side.min() > -0.4
            assert mine.sum() / thing.area == pytest.approx(thing.visible, abs=0.08)
            assert LEAST <= thing.visible <= 1


def test_a_thing_has_the_hue_of_its_colour_where_it_is_seen():
    right = total = 0
    for picture in _pictures():
        pixels = np.asarray(picture.image) / 255
        for i, thing in enumerate(picture.things):
            hue, grey, _ = colorsys.rgb_to_hsv(*np.median(pixels[picture.seen == i + 1], axis=0))
            wanted = colorsys.rgb_to_hsv(*(np.array(TINTS[thing.colour]) / 255))[0]
            off = min(abs(hue - wanted), 1 - abs(hue - wanted)) * 360
            right += grey < 0.25 if thing.colour == "gray" else off < 18 and grey > 0.25
            total += 1
    assert total > 200 and right / total > 0.95


def test_metal_gleams_more_than_rubber():
    gleam = {"metal": [], "rubber": []}
    for picture in _pictures():
        light = np.asarray(picture.image.convert("L")) / 255
        for i, thing in enumerate(picture.things):
            seen = light[picture.seen == i + 1]
            if thing.shape == "sphere" and thing.visible > 0.95:
                gleam[thing.traits[0]].append(np.percentile(seen, 99) / np.median(seen))
    assert min(map(len, gleam.values())) > 15
    assert np.median(gleam["metal"]) > 1.25 * np.median(gleam["rubber"])


def test_places_in_the_room_are_places_in_the_picture():
    """What stands further right is further right, and what stands nearer touches the table further down."""
    checked = Counter()
    for picture in _pictures():
        for i, one in enumerate(picture.things):
            for j, two in enumerate(picture.things):
                x, y, _ = np.subtract(picture.facts["positions"][i], picture.facts["positions"][j])
                if y < -0.5 and "sphere" not in (one.shape, two.shape):
                    checked["y", one.box[3] > two.box[3]] += 1
                if x > 1.5:
                    checked["x", one.centre[0] > two.centre[0]] += 1
    assert checked["y", True] > 150 and checked["x", True] > 300
    assert checked["y", False] < 0.01 * checked["y", True] and checked["x", False] < 0.02 * checked["x", True]


def test_things_throw_shadows():
    shares = []
    for picture in _pictures():
        light = np.asarray(picture.image.convert("L")).astype(float)
        for thing in picture.things if len(picture.things) < 3 else ():
            x0, y0, x1, y1 = (int(value) for value in thing.box)
            low = np.zeros(light.shape, bool)  # a wide band about its foot
            low[(y0 + y1) // 2 : y1 + 6, max(0, 2 * x0 - x1) : 2 * x1 - x0] = True
            ground = light[low & (picture.seen == 0)]
            shares.append((ground < 0.75 * np.percentile(ground, 80)).mean())
    assert len(shares) >= 10 and min(shares) > 0.01 and np.mean(shares) > 0.05


def test_pictures_cover_what_is_promised_and_are_drawn_fast():
    started = time.process_time()
    for seed in range(12):
        draw_solids(np.random.default_rng([2, seed]))
    assert (time.process_time() - started) / 12 < 0.08
    things = [thing for picture in _pictures() for thing in picture.things]
    assert {thing.shape for thing in things} == set(SOLIDS) and {thing.colour for thing in things} == set(TINTS)
    assert set(TINTS) <= set(COLOURS)
    assert {thing.traits for thing in things} == {(m, s) for m in ("metal", "rubber") for s in ("large", "small")}
    assert {len(picture.things) for picture in _pictures()} == set(range(1, 9))
    for picture in _pictures():
        traits = tuple(zip(picture.facts["materials"], picture.facts["sizes"], strict=True))
        assert traits == tuple(thing.traits for thing in picture.things)


def test_held_out_pictures_lie_on_a_ground_that_training_never_sees():
    def warmth(picture):
        ground = np.asarray(picture.image)[picture.seen == 0].astype(float)
        return np.median(ground[:, 0] - ground[:, 2]), np.percentile(ground, 90)

    trained = [warmth(picture) for picture in _pictures()]
    held_out = [warmth(draw_solids(np.random.default_rng([6, seed]), held_out=True)) for seed in range(15)]
    assert min(w for w, _ in trained) >= -1 and max(w for w, _ in held_out) <= 1
    assert max(light for _, light in held_out) < np.median([light for _, light in trained])


# The questions.


def test_every_kind_is_asked_and_has_phrasings_for_its_fields():
    kinds = Counter(made.kind for _, made in _asked())
    assert len(kinds) >= 35
    for _, made in _asked():
        for text in (*WAYS[made.kind]["direct"], *WAYS[made.kind]["held_out"]):
            needed = set(re.findall(r"{(\w+)}", text)) - {"image", "color", "objects", "here"}
            assert needed <= set(made.fields), (made.kind, text)


def test_the_same_seed_asks_the_same_questions():
    def asked():
        found = makers(_pictures()[3], np.random.default_rng(3), None)
        return [make() for _, make in found]

    assert asked() == asked()


def test_counts_agree_with_the_things_that_the_question_names():
    found = _of("count", "count same", "count either")
    for picture, made in found:
        if made.kind == "count":
            expected = _fitting(picture, made.fields["plural"])
            assert sorted(made.looks[0][1]) == expected
        elif made.kind == "count either":
            either = [set(_fitting(picture, made.fields[name])) for name in ("one", "two")]
            expected = either[0] | either[1]
        else:
            (own,) = _fitting(picture, made.fields["obj"])
            among = [i for i in _fitting(picture, made.fields["plural"]) if i != own]
            expected = [i for i in among if _alike(picture, made.fields["aspect"], i, own)]
        assert made.answer == number_word(len(expected)), made
    assert len(found) > 400


def _alike(picture, aspect, i, j):
    one, two = picture.things[i], picture.things[j]
    part = {
        "shape": (one.shape, two.shape),
        "material": (one.traits[0], two.traits[0]),
        "size": (one.traits[1], two.traits[1]),
    }.get(aspect, (one.colour, two.colour))
    return part[0] == part[1]


def test_existence_agrees_with_the_things_that_the_question_names():
    for picture, made in _of("exist"):
        assert made.answer == ("yes" if _fitting(picture, made.fields["obj"]) else "no"), made
    for picture, made in _of("another same"):
        (own,) = _fitting(picture, made.fields["obj"])
        among = [i for i in _fitting(picture, made.fields["wanted"]) if i != own]
        truth = any(_alike(picture, made.fields["aspect"], i, own) for i in among)
        assert made.answer == ("yes" if truth else "no"), made


def test_an_attribute_is_that_of_the_thing_named_or_unknown():
    kinds = {"colour": 0, "solid shape": 0, "material": 0, "solid size": 0}
    turns = [(picture, turn) for picture, made in _of(*kinds) for turn in (made, made.follow) if turn]
    for picture, made in turns:
        fitting = _fitting(picture, made.fields["obj"])
        if made.guess is None:
            assert fitting and all(made.answer in _features(picture.things[i]) for i in fitting), made
            assert sorted(made.looks[0][1]) == fitting
        else:
            assert made.answer == "unknown" and not fitting and made.looks == ((0, ()),)
            assert made.guess in TRAITS
        kinds[made.kind] = kinds.get(made.kind, 0) + 1
    assert min(kinds.values()) > 10 and kinds["follow thing"] > 20


def test_relations_hold_in_the_room():
    checked = 0
    for picture, made in _of("relation", "any relation"):
        if made.guess is not None:
            continue
        names = ("obj", "other") if made.kind == "relation" else ("one", "two")
        one, two = (_fitting(picture, made.fields[name]) for name in names)
        assert made.looks == ((0, tuple(one)), (0, tuple(two)))
        truths = [_holds(made.fields["relation"], picture, i, j) for i in one for j in two if i != j]
        if True in truths or None not in truths:
            assert made.answer == ("yes" if True in truths else "no"), made
            checked += 1
    assert checked > 200


@pytest.mark.parametrize("kind", ["attribute beside", "count beside", "beside"])
def test_what_is_beside_a_thing_is_so_in_the_room(kind):
    found = _of(kind)
    for picture, made in found:
        (other,) = _fitting(picture, made.fields["other"])
        among = _fitting(picture, made.fields.get("wanted", made.fields.get("plural", "")))
        there = [i for i in among if i != other and _holds(made.fields["relation"], picture, i, other)]
        if kind == "count beside":
            assert made.answer == number_word(len(there))
        elif made.guess is not None:
            assert not there
        else:
            assert made.looks == ((0, tuple(there)),)
            assert set(made.answer.split()) <= _features(picture.things[there[0]]), made
    assert len(found) > 20


def test_the_nearest_thing_is_the_one_in_front():
    checked = 0
    for picture, made in _of("extreme", "attribute extreme"):
        said = made.fields.get("extreme", "") + " " + made.fields["obj"] if "obj" in made.fields else ""
        said = said or f"{made.fields['extreme']} {made.fields['wanted']}"
        if made.guess is not None or not re.search("nearest|closest|frontmost|leftmost|left-most", said):
            continue
        axis = 0 if "left" in said else 1
        among = _fitting(picture, said)
        first = min(among, key=lambda i: picture.facts["positions"][i][axis])
        assert made.looks == ((0, (first,)),) and sorted(made.among) == among, made
        assert made.answer in _features(picture.things[first])
        checked += 1
    assert checked > 30


def test_statements_are_true_as_often_as_false_and_really():
    numbers = [number_word(n) for n in range(12)]
    checked = 0
    for picture, made in _of("yes statement", "true statement"):
        text = made.fields["statement"]
        truth = None
        if found := re.fullmatch(r"there is (?:no|an?) (.+)", text):
            truth = bool(_fitting(picture, found[1])) != text.startswith("there is no ")
        elif found := re.fullmatch(r"there (?:is|are) (exactly|at least|at most) (\w+) (.+)", text):
            n, k = len(_fitting(picture, found[3])), numbers.index(found[2])
            truth = {"exactly": n == k, "at least": n >= k, "at most": n <= k}[found[1]]
        elif found := re.fullmatch(
            r"the (?!nearest|closest)([\w ]+) is (left of|behind|in front of) the ([\w ]+)", text
        ):
            (one,), (two,) = _fitting(picture, found[1]), _fitting(picture, found[3])
            truth = _holds(found[2], picture, one, two)
        if truth is not None:
            assert made.answer in (("yes", "true") if truth else ("no", "false")), made
            checked += 1
    assert checked > 50


def test_a_description_names_the_things_from_left_to_right():
    checked = 0
    for picture, made in _of("describe"):
        for (start, things), (end, _) in zip(made.looks, (*made.looks[1:], (len(made.answer), ())), strict=True):
            said = made.answer[start:end]
            assert set(things) <= set(_fitting(picture, said)) or len(things) == len(picture.things)
        if len(picture.things) <= 4:
            order = [thing for _, (thing,) in made.looks]
            places = [picture.things[i].centre[0] for i in order]
            assert places == sorted(places) and len(order) == len(picture.things)
            checked += 1
        else:
            assert made.answer.startswith(number_word(len(picture.things)))
    assert checked > 20


def test_yes_and_no_are_balanced_and_unknown_is_neither_rare_nor_common():
    answers: dict[str, Counter] = {}
    for _, made in _asked():
        kind = "statement" if "statement" in made.kind else made.kind
        answers.setdefault(kind, Counter())[{"true": "yes", "false": "no"}.get(made.answer, made.answer)] += 1
    for kind, found in answers.items():
        if found["yes"] + found["no"] > 60:
            assert 0.3 < found["yes"] / (found["yes"] + found["no"]) < 0.7, (kind, found)
        if found["unknown"]:
            assert 0.04 < found["unknown"] / found.total() < 0.33, (kind, found)
    assert sum(found["unknown"] > 0 for found in answers.values()) >= 10
    kinds = [made.answer for _, made in _of("material") if made.guess is None]
    assert 0.35 < kinds.count("metal") / len(kinds) < 0.65


def test_made_questions_are_well_formed():
    for picture, made in _asked():
        assert isinstance(made, Made) and made.answer and not made.copied
        things = {i for _, group in made.looks for i in group} | set(made.among or ())
        assert things <= set(range(len(picture.things)))
        assert (made.answer == "unknown") == (made.guess is not None)
