"""The truth that goes with a drawn picture must be the truth of its pixels."""

import numpy as np
import pytest

from vlm_demo.synthetic.charts import draw_chart
from vlm_demo.synthetic.receipts import draw_receipt
from vlm_demo.synthetic.scenes import draw_scene
from vlm_demo.synthetic.world import COLOURS, SHAPES, instance_map, zone


def _colour_distance(pixel, name):
    """From an RGB to the nearest segment between two anchors of the name."""
    anchors = np.array(COLOURS[name], dtype=float)
    best = np.inf
    for a in anchors:
        for b in anchors:
            along = b - a
            t = 0 if not along.any() else np.clip(np.dot(pixel - a, along) / np.dot(along, along), 0, 1)
            best = min(best, float(np.linalg.norm(pixel - (a + t * along))))
    return best


@pytest.mark.parametrize("draw", [draw_scene, draw_chart, draw_receipt])
def test_the_same_seed_draws_the_same_picture(draw):
    one, two = draw(np.random.default_rng(5)), draw(np.random.default_rng(5))
    assert np.array_equal(np.asarray(one.image), np.asarray(two.image))
    assert one.facts == two.facts
    assert not np.array_equal(np.asarray(one.image), np.asarray(draw(np.random.default_rng(6)).image))


def test_a_thing_has_the_named_colour_where_the_map_says_it_is():
    checked = wrong = 0
    for seed in range(60):
        picture = draw_scene(np.random.default_rng(seed))
        side = max(picture.image.size)
        left, top = ((side - n) // 2 for n in picture.image.size)
        seen = instance_map(picture, side)
        pixels = np.asarray(picture.image).astype(float)
        for i, thing in enumerate(picture.things):
            rows, columns = np.nonzero(seen == i + 1)
            if len(rows) < 200 or thing.shape in ("star", "cross", "heart"):
                continue
            values = np.median(pixels[rows - top, columns - left], axis=0)
            checked += 1
            wrong += _colour_distance(values, thing.colour) > 40
    assert checked > 80
    assert wrong / checked < 0.08  # hollow shapes show the background in their middle


def test_scenes_cover_the_promised_shapes_and_colours():
    things = [t for seed in range(250) for t in draw_scene(np.random.default_rng(seed)).things]
    assert {t.shape for t in things} == set(SHAPES)
    assert {t.colour for t in things} == set(COLOURS)


def test_zone_names_the_ninth_of_the_picture():
    picture = draw_scene(np.random.default_rng(1), size=(500, 240))
    for thing in picture.things:
        name = zone(thing, picture.image.size)
        x, y = thing.centre
        if name is not None:
            assert ("left" in name) == (x < 500 / 3)
            assert ("bottom" in name) == (y > 240 * 2 / 3)


def test_a_bar_is_as_high_as_its_value():
    for seed in range(30):
        picture = draw_chart(np.random.default_rng(seed))
        axis = 0 if picture.facts["lying"] else 1
        lengths = [thing.box[2 + axis] - thing.box[axis] for thing in picture.things]
        values = picture.facts["values"]
        assert int(np.argmax(lengths)) == int(np.argmax(values))
        assert np.allclose(np.array(lengths) / max(lengths), np.array(values) / max(values), atol=0.03)


def test_a_receipt_adds_up_and_prints_its_facts():
    for seed in range(40):
        facts = draw_receipt(np.random.default_rng(seed)).facts
        plain = float(facts["total"].replace(",", ""))
        items = sum(float(price.replace(",", "")) for _, price in facts["items"])
        assert plain == pytest.approx(items + float(facts.get("tax", "0").replace(",", "")), abs=0.011)
        for key in ("shop", "date", "total"):
            assert any(facts[key] in line for line in facts["texts"])
