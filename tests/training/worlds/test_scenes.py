"""The truth that goes with a drawn scene must be the truth of its pixels."""

from functools import cache

import numpy as np
import pytest

from tests.training.worlds.colours import colour_distance
from vlm_demo.training.worlds.scene_layout import LAYOUTS
from vlm_demo.training.worlds.scenes import draw_scene
from vlm_demo.training.worlds.world import COLOURS, SHAPES, instance_map, zone


@cache
def _scene(seed):
    return draw_scene(np.random.default_rng([4, seed]))


@pytest.fixture(scope="module", autouse=True)
def _forgotten():
    yield
    _scene.cache_clear()


def _scenes(n, **options):
    if options:
        return [draw_scene(np.random.default_rng([4, seed]), **options) for seed in range(n)]
    return [_scene(seed) for seed in range(n)]


def _visible_pixels(picture, i):
    """The pixels in which thing i is seen by its outline: float [n, 3]."""
    side = max(picture.image.size)
    left, top = ((side - n) // 2 for n in picture.image.size)
    rows, columns = np.nonzero(instance_map(picture, side) == i + 1)
    return np.asarray(picture.image).astype(float)[rows - top, columns - left]


def test_the_same_seed_draws_the_same_picture():
    one, two = draw_scene(np.random.default_rng(5)), draw_scene(np.random.default_rng(5))
    assert np.array_equal(np.asarray(one.image), np.asarray(two.image))
    assert one.facts == two.facts and one.image.mode == "RGB" and one.kind == "scenes"
    assert not np.array_equal(np.asarray(one.image), np.asarray(draw_scene(np.random.default_rng(6)).image))


def test_a_thing_has_the_named_colour_where_the_map_says_it_is():
    checked = wrong = 0
    for picture in _scenes(120):
        for i, thing in enumerate(picture.things):
            pixels = _visible_pixels(picture, i)
            if len(pixels) < 40 or "hollow" in thing.traits:
                continue
            checked += 1
            wrong += colour_distance(np.median(pixels, axis=0), thing.colour) > 40
    assert checked > 250
    assert wrong / checked < 0.03


def test_a_hollow_thing_shows_the_background_in_its_middle_and_its_colour_around_it():
    checked = 0
    for picture in _scenes(500):
        for i, thing in enumerate(picture.things):
            if "hollow" not in thing.traits or thing.shape != "square" or thing.visible < 1:
                continue
            rgb = np.array(picture.facts["rgbs"][i])
            x, y = (int(v) for v in thing.centre)
            middle = np.asarray(picture.image)[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).mean(0)
            near = np.linalg.norm(_visible_pixels(picture, i) - rgb, axis=1) < 45
            assert np.linalg.norm(middle - rgb) > 45 and 0.15 < near.mean() < 0.85
            checked += 1
    assert checked >= 5


def test_scenes_cover_the_promised_shapes_colours_and_traits():
    things = [thing for picture in _scenes(250) for thing in picture.things]
    assert {thing.shape for thing in things} == set(SHAPES)
    assert {thing.colour for thing in things} == set(COLOURS)
    assert {trait for thing in things for trait in thing.traits} == {"large", "small", "hollow", "outlined"}


def test_sizes_are_named_only_where_there_are_two_of_them():
    sized = 0
    for picture in _scenes(400):
        widest = {"large": [], "small": [], None: []}
        for thing in picture.things:
            trait = next((name for name in ("large", "small") if name in thing.traits), None)
            widest[trait].append(thing.area)
        if widest["large"] or widest["small"]:
            assert not widest[None] and min(widest["large"]) > 1.3 * max(widest["small"])
            sized += 1
    assert 20 < sized < 200


def test_boxes_hold_up_to_eight_things_each_and_are_a_seventh_of_all_scenes():
    grouped = [picture for picture in _scenes(500) if picture.facts["groups"]]
    assert 0.1 < len(grouped) / 500 < 0.19
    for picture in grouped:
        boxes = picture.facts["boxes"]
        assert len(boxes) == picture.facts["groups"] >= 2
        inside = [sum(b[0] - 0.6 <= t.box[0] and t.box[2] <= b[2] + 0.6 for t in picture.things) for b in boxes]
        assert sum(inside) == len(picture.things) and max(inside) <= 8
        between = (boxes[0][2] + boxes[1][0]) // 2
        assert not np.array_equal(picture.image.getpixel((between, 1)), picture.image.getpixel((boxes[0][2] - 1, 1)))


def test_things_are_seen_even_where_they_overlap():
    shares = [thing.visible for picture in _scenes(300) for thing in picture.things]
    assert 0.005 < np.mean([share < 0.9 for share in shares]) < 0.15
    assert np.mean([share < 0.35 for share in shares]) < 0.02
    for picture in _scenes(200):
        for i, thing in enumerate(picture.things):
            if thing.area > 300 and thing.visible < 0.9:
                assert len(_visible_pixels(picture, i)) / thing.area == pytest.approx(thing.visible, abs=0.15)


def test_a_large_scene_has_few_things_that_can_be_told_apart():
    for picture in _scenes(60, large=True):
        assert 1 <= len(picture.things) <= 6 and not picture.facts["groups"]
    assert draw_scene(np.random.default_rng(0), size=(500, 240)).image.size == (500, 240)


def test_pictures_come_in_any_size():
    sizes = [picture.image.size for picture in _scenes(300)]
    assert min(map(min, sizes)) <= 30 and max(map(max, sizes)) > 640
    ratios = [width / height for width, height in sizes]
    assert min(ratios) < 0.5 and max(ratios) > 3
    assert sum(LAYOUTS.values()) == pytest.approx(1)


def test_zone_names_the_ninth_of_the_picture():
    picture = draw_scene(np.random.default_rng(1), size=(500, 240))
    for thing in picture.things:
        name = zone(thing, picture.image.size)
        x, y = thing.centre
        if name is not None:
            assert ("left" in name) == (x < 500 / 3)
            assert ("bottom" in name) == (y > 240 * 2 / 3)
