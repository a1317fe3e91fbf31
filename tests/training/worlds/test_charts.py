"""A chart's truth must be the truth of its pixels, and the questions about it true and answerable from it."""

import re
from collections import Counter
from functools import lru_cache

import numpy as np
import pytest

from tests.training.worlds.colours import colour_distance
from vlm_demo.evaluation.answers import matches
from vlm_demo.training.worlds import chart_questions
from vlm_demo.training.worlds.chart_data import LABELS, NAMES, SERIES
from vlm_demo.training.worlds.chart_sheet import Printed, as_lines, stroke
from vlm_demo.training.worlds.charts import draw_chart
from vlm_demo.training.worlds.phrasings import WAYS
from vlm_demo.training.worlds.printed import texts
from vlm_demo.training.worlds.world import COLOURS, instance_map

KINDS = tuple(NAMES.values())
BARS = ("bar chart", "grouped bar chart", "stacked bar chart")
ROUND = ("pie chart", "donut chart")


@lru_cache
def _drawn(held_out):
    return [draw_chart(np.random.default_rng([11, seed]), held_out) for seed in range(25 if held_out else 320)]


def _charts(names=KINDS, held_out=False, n=None):
    return [picture for picture in _drawn(held_out)[:n] if picture.facts["chart"] in names]


@lru_cache
def _asked():
    """Picture, lines that OCR read, and question: each maker tried thrice, every other picture without OCR."""
    asked = []
    for seed, picture in enumerate(_drawn(False)):
        rng = np.random.default_rng([12, seed])
        read = picture.facts["texts"] if seed % 2 else None
        for _, maker in chart_questions.makers(picture, rng, read):
            asked += [(picture, read, made) for made in filter(None, (maker() for _ in range(3)))]
    return asked


def _made(kinds=None, ocr=None):
    for picture, read, made in _asked():
        if (kinds is None or made.kind in kinds) and (ocr is None or ocr == (read is not None)):
            yield picture, read, made


def _long(thing, lying):
    return thing.box[2] - thing.box[0] if lying else thing.box[3] - thing.box[1]


@pytest.mark.parametrize("held_out", [False, True])
def test_the_same_seed_draws_the_same_chart(held_out):
    for seed in range(6):
        one, two = (draw_chart(np.random.default_rng(seed), held_out) for _ in range(2))
        assert np.array_equal(np.asarray(one.image), np.asarray(two.image))
        assert one.facts == two.facts
        assert all(np.array_equal(a.outline, b.outline) for a, b in zip(one.things, two.things, strict=True))


def test_every_kind_is_drawn_and_half_are_simple_bars():
    counts = Counter(picture.facts["chart"] for picture in _charts())
    assert set(counts) == set(NAMES.values())
    assert 0.42 < counts["bar chart"] / 320 < 0.58
    sizes = np.array([picture.image.size for picture in _charts()])
    assert sizes.min() >= 160 and 600 < sizes.max() <= 900


@pytest.mark.parametrize("held_out", [False, True])
def test_a_bar_is_as_long_as_its_value(held_out):
    checked = 0
    for picture in _charts(BARS, held_out):
        facts = picture.facts
        values = np.array([facts["values"][s][j] for s, j in facts["cells"]])
        lengths = [_long(thing, facts["lying"]) for thing in picture.things]
        assert np.allclose(np.array(lengths) * facts["pixel"], abs(values), atol=2.1 * facts["pixel"])
        edges = [thing.box[0] if facts["lying"] else -thing.box[3] for thing in picture.things]
        if values.min() < 0 < values.max():
            assert max(e for e, v in zip(edges, values, strict=True) if v < 0) < max(edges)
        checked += 1
    assert checked > 10


@pytest.mark.parametrize(("held_out", "n"), [(False, 70), (True, 15)])
def test_a_mark_has_the_named_colour_where_the_map_says_it_is(held_out, n):
    checked = wrong = 0
    for picture in _charts(KINDS, held_out, n):
        side = max(picture.image.size)
        left, top = ((side - length) // 2 for length in picture.image.size)
        seen = instance_map(picture, side)
        pixels = np.asarray(picture.image).astype(float)
        for i, thing in enumerate(picture.things[:25]):
            rows, columns = np.nonzero(seen == i + 1)
            if len(rows) < 30:
                continue
            found = pixels[np.clip(rows - top, 0, len(pixels) - 1), np.clip(columns - left, 0, pixels.shape[1] - 1)]
            checked += 1
            if thing.shape == "line":  # the paper shows through its soft edges
                near = [
                    colour_distance(pixel, thing.colour, softened=True) for pixel in found[:: max(1, len(found) // 40)]
                ]
                wrong += np.quantile(near, 0.2) > 35
            else:
                wrong += colour_distance(np.median(found, axis=0), thing.colour, softened=True) > 35
    assert checked > 80
    assert wrong / checked < 0.01, (wrong, checked)


def test_a_slice_has_the_share_of_its_value():
    checked = 0
    for picture in _charts(ROUND):
        values = np.array(picture.facts["values"][0])
        areas = np.array([thing.area for thing in picture.things])
        assert np.allclose(areas / areas.sum(), values / values.sum(), atol=0.02)
        checked += 1
    assert checked > 15


def test_lines_and_points_lie_where_their_values_are():
    for picture in _charts(("line chart", "scatter plot")):
        facts = picture.facts
        for (series, label), thing in zip(facts["cells"], picture.things, strict=True):
            values = facts["values"][series]
            if label < 0:
                n = len(values)
                heights = (thing.outline[:n, 1] + thing.outline[: n - 1 : -1, 1]) / 2
            else:
                heights, values = np.array([thing.centre[1]]), [values[label]]
            bottom = heights[0] + values[0] / facts["pixel"]
            assert np.allclose((bottom - heights) * facts["pixel"], values, atol=2 * facts["pixel"])


def test_what_is_printed_is_in_the_lines_in_reading_order():
    in_a_row = 0
    for picture in _charts():
        facts = picture.facts
        lines = facts["texts"]
        whole = "\n".join(lines)
        assert facts["title"] in whole
        assert all(text in whole for _, text in facts["ticks"])
        assert all(text in whole for text in facts["printed"])
        if facts["chart"] in BARS and not facts["lying"]:
            in_a_row += any(" ".join(facts["labels"]) in line for line in lines)
        if facts["lying"]:
            places = [next(i for i, line in enumerate(lines) if label in line.split()) for label in facts["labels"]]
            assert len(set(places)) == len(places)
    assert in_a_row > 50


def test_pieces_of_one_height_join_from_left_to_right():
    pieces = [Printed(90, 50, 10, "right", 20), Printed(10, 52, 10, "left", 20), Printed(10, 70, 10, "below", 20)]
    assert texts(as_lines(pieces)) == ["left right", "below"]
    assert as_lines(pieces)[0][1].box == (80, 45, 100, 55)


def test_a_stroke_is_as_wide_as_asked():
    outline = stroke([(0, 0), (10, 0), (20, 0)], 4)
    assert outline[:, 1].min() == -2 and outline[:, 1].max() == 2 and len(outline) == 6


def test_names_are_told_apart():
    assert len(set(LABELS)) == len(LABELS) and len(set(SERIES)) == len(SERIES)


def test_the_highest_bar_is_the_longest_in_the_picture():
    found = 0
    for picture, _, made in _made(("bar label", "bar colour")):
        values = picture.facts["values"][0]
        if min(values) < 0 or made.guess is not None:
            continue
        lengths = [_long(thing, picture.facts["lying"]) for thing in picture.things]
        top = made.fields["extreme"] in ("tallest", "longest", "highest", "biggest", "largest")
        i = int(np.argmax(lengths) if top else np.argmin(lengths))
        assert made.answer == (picture.things[i].colour if made.kind == "bar colour" else picture.facts["labels"][i])
        assert made.looks == ((0, (i,)),) and made.among == tuple(range(len(lengths)))
        found += 1
    assert found > 200


def test_comparisons_agree_with_the_outlines():
    found = 0
    for picture, _, made in _made(("label compare", "label compare less", "group compare", "bar compare")):
        if made.guess is not None or min(min(row) for row in picture.facts["values"]) < 0:
            continue
        (_, (i,)), (_, (j,)) = made.looks
        one, two = picture.things[i], picture.things[j]
        bars = picture.facts["chart"] in BARS
        sizes = [_long(thing, picture.facts["lying"]) if bars else thing.area for thing in (one, two)]
        less = made.kind == "label compare less" or made.fields.get("taller") in ("shorter", "smaller")
        assert (made.answer == "yes") == ((sizes[0] > sizes[1]) != less), made
        if made.kind == "bar compare":
            assert [thing.colour.replace("gray", "grey") for thing in (one, two)] == [
                made.fields[key].replace("gray", "grey") for key in ("tint", "other")
            ]
        elif made.kind == "group compare":
            assert one.text == f"{made.fields['label']} / {made.fields['item']}"
        else:
            assert (one.text, two.text) == (made.fields["label"], made.fields["other"])
        found += 1
    assert found > 200


def test_a_value_is_read_where_it_is_printed_and_is_about_right():
    kinds = ("bar value", "group value", "colour value", "extreme value")
    shares = 0
    found = 0
    for picture, read, made in _made(kinds, ocr=True):
        if made.guess is not None:
            continue
        assert any(made.answer in line for line in read) and made.copied == made.answer
        (_, (i,)), *_ = made.looks
        series, label = picture.facts["cells"][i]
        value = picture.facts["values"][series][label]
        if made.answer.endswith("%"):
            value = 100 * value / sum(picture.facts["values"][0])
            assert abs(float(made.answer[:-1]) - value) < 0.51
            shares += 1
        else:
            assert matches("number", made.answer, (f"{value:.4f}",))
        if made.kind == "bar value":
            assert picture.things[i].text == made.fields["label"]
        found += 1
    assert found > 200 and shares > 5


def test_a_line_that_goes_up_ends_higher():
    found = Counter()
    for picture, _, made in _made(("trend",)):
        if made.guess is None:
            (_, (i,)), *_ = made.looks
            n = len(picture.facts["labels"])
            outline = picture.things[i].outline
            assert (made.answer == "up") == (outline[0, 1] > outline[n - 1, 1])
            found[made.answer] += 1
    assert min(found["up"], found["down"]) > 15


def test_counts_and_colours_of_series_agree_with_the_marks():
    found = Counter()
    shapes = {"bars": "bar", "slices": "slice", "lines": "line", "points": "point"}
    for picture, _, made in _made((*shapes, "series colour", "colour series", "negative")):
        if made.guess is not None:
            continue
        facts = picture.facts
        if made.kind in shapes:
            assert matches("exact", made.answer, (str(len(picture.things)),))
            assert {thing.shape for thing in picture.things} == {shapes[made.kind]}
        elif made.kind == "negative":
            assert (made.answer == "yes") == (np.min(facts["values"]) < 0)
        else:
            name = made.fields["item"]
            things = [t for t, (s, _) in zip(picture.things, facts["cells"], strict=True) if facts["series"][s] == name]
            (_, looked), *_ = made.looks
            assert things == [picture.things[i] for i in looked]
            said = made.answer if made.kind == "series colour" else made.fields["tint"].replace("grey", "gray")
            assert {thing.colour for thing in things} == {said}
        found[made.kind] += 1
    assert len(found) == 7 and min(found.values()) > 10


def test_names_are_unknown_without_ocr_unless_they_are_letters_in_order():
    unknown = 0
    kinds = ("bar label", "slice label", "label extreme", "group extreme", "chart title", "colour label", "place label")
    for picture, _, made in _made(kinds, ocr=False):
        labels = picture.facts["labels"]
        lettered = labels == [chr(65 + i) for i in range(len(labels))]
        if made.guess is None:
            assert lettered and made.answer in labels and not made.copied
        else:
            assert made.answer == "unknown" and made.looks == ()
            unknown += 1
    assert unknown > 100


def test_with_ocr_only_what_is_not_there_is_unknown():
    found = 0
    for picture, read, made in _made(ocr=True):
        if made.copied:
            assert made.copied in made.answer and any(made.copied in line for line in read)
        if made.guess is not None:
            there = {*picture.facts["labels"], *picture.facts["series"]}
            colours = {thing.colour for thing in picture.things}
            asked = {value.replace("grey", "gray").removesuffix(" line") for value in made.fields.values()} - there
            missing = "title" in made.kind or asked & ({*LABELS, *SERIES, *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"})
            assert missing or (asked & set(COLOURS)) - colours, made
            found += 1
    assert found > 60


def test_yes_is_as_frequent_as_no_and_follow_ups_are_true():
    answers, follows, kinds = {}, Counter(), set()
    for picture, _, made in _made():
        kinds.add(made.kind)
        if made.answer in ("yes", "no"):
            answers.setdefault(made.kind, []).append(made.answer == "yes")
        for start, things in made.looks:
            assert 0 <= start < len(made.answer) and all(0 <= i < len(picture.things) for i in things)
        if made.follow:
            follows[made.follow.kind] += 1
            kinds.add(made.follow.kind)
            if made.follow.kind == "follow exist":
                colour = re.match(r"\w+", made.follow.fields["obj"])[0].replace("grey", "gray")
                there = any(thing.colour == colour for thing in picture.things)
                assert made.follow.answer == ("yes" if there else "no")
    weighed = {kind: np.mean(said) for kind, said in answers.items() if len(said) > 100}
    weighed.pop("negative")  # asked more often of the few charts that have some
    assert len(weighed) > 5 and all(0.4 < share < 0.6 for share in weighed.values()), weighed
    assert len(follows) == 5 and min(follows.values()) > 10
    assert len(kinds) > 38 and kinds <= set(WAYS)
