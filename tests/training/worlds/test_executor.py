"""Programs over a table give the results of plain loops over the same rows, or raise why they don't."""

import itertools

import numpy as np
import pytest

from vlm_demo.training.worlds.executor import QUANTITIES, Absent, Table, Unclear, execute

SHAPES, COLOURS = ("circle", "square", "star"), ("red", "blue", "green")


def tables(n=60):
    for seed in range(n):
        rng = np.random.default_rng(seed)
        yield Table(
            [
                {"shape": str(rng.choice(SHAPES)), "colour": str(rng.choice(COLOURS)), "x": float(rng.random()),
                 "y": float(rng.random()), "area": float(rng.integers(1, 9))}
                for _ in range(int(rng.integers(0, 8)))
            ],
            {"x": 0.05, "y": 0.05},
        )  # fmt: skip


def run(table, *program):
    """The value, or the name of what was raised."""
    try:
        return execute(table, program).value
    except (Absent, Unclear) as error:
        return type(error).__name__


def one(**description):
    return (("filter", description), ("unique",))


def test_counting_existence_and_queries():
    for table, shape, colour in itertools.product(tables(), SHAPES, COLOURS):
        fitting = [row for row in table.rows if row["shape"] == shape and row["colour"] == colour]
        filter_step = ("filter", {"shape": shape, "colour": colour})
        assert run(table, filter_step, ("count",)) == len(fitting)
        assert run(table, filter_step, ("exist",)) is (len(fitting) > 0)
        shapes = {row["shape"] for row in table.rows if row["colour"] == colour}
        expected = "Absent" if not shapes else "Unclear" if len(shapes) > 1 else next(iter(shapes))
        assert run(table, ("filter", {"colour": colour}), ("query", "shape")) == expected
        for words, k in itertools.product(QUANTITIES, range(3)):
            test = {"exactly": "==", "at least": ">=", "at most": "<=", "more than": ">"}.get(words, "<")
            assert run(table, filter_step, ("count",), ("amounts", words, k)) == eval(f"{len(fitting)} {test} {k}")


def test_extremes_are_found_only_where_they_stand_out():
    seen = set()
    for table in tables():
        order = sorted(table.rows, key=lambda row: row["x"])
        for name, end in (("least", order[:2]), ("most", order[::-1][:2])):
            expected = "Absent" if not order else "Unclear"
            if len(order) > 1 and abs(end[0]["x"] - end[1]["x"]) > 0.05:
                expected = end[0]["colour"]
            assert run(table, (name, "x"), ("query", "colour")) == expected
            seen.add(expected)
    assert {"Absent", "Unclear", *COLOURS} == seen


def test_relations_compare_with_the_only_thing_of_a_kind():
    answered = 0
    for table, shape, colour in itertools.product(tables(), SHAPES, COLOURS):
        anchors = [row for row in table.rows if row["shape"] == shape and row["colour"] == colour]
        found = run(table, ("beyond", "x", -1, one(shape=shape, colour=colour)), ("count",))
        if len(anchors) != 1:
            assert found == ("Unclear" if anchors else "Absent")
            continue
        others = [row for row in table.rows if row is not anchors[0]]
        if any(abs(row["x"] - anchors[0]["x"]) <= 0.05 for row in others):
            assert found == "Unclear"
        else:
            assert found == sum(row["x"] < anchors[0]["x"] for row in others)
            answered += 1
    assert answered > 50


def test_two_things_and_two_counts_are_compared():
    rows = [{"shape": "circle", "x": 0.1, "area": 4}, {"shape": "star", "x": 0.5, "area": 4}]
    table = Table([*rows, {"shape": "star", "x": 0.9, "area": 1}], {"x": 0.05})
    circle = one(shape="circle")
    assert run(table, ("filter", {"x": 0.9}), ("unique",), ("more", "x", 1, circle)) is True
    assert run(table, ("filter", {"x": 0.9}), ("unique",), ("more", "x", -1, circle)) is False
    assert run(table, ("filter", {"x": 0.5}), ("unique",), ("more", "area", 1, circle)) == "Unclear"
    assert run(table, ("filter", {"shape": "star"}), ("unique",), ("more", "x", 1, circle)) == "Unclear"
    stars = (("filter", {"shape": "star"}), ("count",))
    assert run(table, *stars, ("exceeds", (("filter", {"shape": "circle"}), ("count",)))) is True
    assert run(table, *stars, ("equals", stars)) is True
    assert run(table, ("common", "shape")) == "star" and run(table, ("distinct", "shape")) == ["circle", "star"]
    assert run(Table(rows), ("common", "shape")) == "Unclear"


def test_an_answer_is_about_the_rows_that_it_came_from():
    table = Table([{"shape": "circle", "x": 0.1}, {"shape": "star", "x": 0.5}, {"shape": "star", "x": 0.9}])
    assert execute(table, (("filter", {"shape": "star"}), ("count",))).about == (1, 2)
    assert execute(table, (("filter", {"shape": "heart"}), ("exist",))).about == ()
    assert execute(table, (("most", "x"), ("query", "shape"))).about == (2,)
    compared = execute(table, (("filter", {"x": 0.5}), ("unique",), ("more", "x", 1, one(shape="circle"))))
    assert compared.about == (1, 0)


def test_an_unknown_attribute_is_unclear_and_an_unknown_function_a_mistake():
    table = Table([{"shape": "circle"}, {"shape": "star"}])
    assert run(table, ("most", "x")) == "Unclear" and run(table, ("query", "x")) == "Unclear"
    with pytest.raises(KeyError):
        execute(table, (("guess",),))
