"""Lines of charts become lines of categories; those of tables and plain text stay as they are."""

from __future__ import annotations

import pytest

from vlm_demo.contracts import OcrWord
from vlm_demo.runtime.chart_columns import by_columns


def line(y: int, **places: int) -> list[OcrWord]:
    """Words 10 pixels high at these middles; an underscore in a name begins another word, a leading n is a number's."""
    words = []
    for name, x in places.items():
        text = name.removeprefix("n").replace("point", ".").replace("percent", "%")
        at = x - 4 * len(text)
        for part in text.split("_"):
            words.append(OcrWord(part, (at, y, at + 8 * len(part), y + 10), 90.0))
            at += 8 * len(part) + 4
    return words


def texts(lines: list[list[OcrWord]]) -> list[str]:
    return [" ".join(word.text for word in line) for line in lines]


AXIS = line(200, n2016=100, n2017=180, n2018=260, n2019=340)
BARS = [line(20, n90=30), line(60, n30=30, n71percent=180), line(80, n64=340), line(110, n5point5=100)]


def test_a_category_stands_with_the_values_above_it_and_nothing_is_lost():
    legend = line(230, Women=180, Men=260)
    lines = [*BARS, line(140, n41=260), AXIS, legend]
    found = by_columns(lines)
    assert texts(found) == ["90", "30", "2016 5.5", "2017 71%", "2018 41", "2019 64", "Women Men"]
    assert sorted(texts([[word for line in found for word in line]])[0].split()) == sorted(
        " ".join(texts(lines)).split()
    )


def test_two_series_keep_their_order_and_labels_may_go_on_below():
    labels = [line(200, North=100, South_of=200, East=300), line(214, town=200)]
    values = [line(40, n8=100, n7=200, n9=300), line(90, n3=100, n2=200, n1=300)]
    assert texts(by_columns([*values, *labels])) == ["North 8 3", "South of town 7 2", "East 9 1"]


@pytest.mark.parametrize(
    "lines",
    [
        [line(0, Item=60, Price=160, Tax=260), *(line(20 * i, n1=60, n5=160, n2=260) for i in range(1, 4))],
        [line(20, n5=100, n7=200, n9=300), line(40, n4=100, n6=200, n8=300)],
        [line(20, n5=100), line(40, Bread=100, Milk=200, Eggs=300)],
        [line(20, n5=100, n7=140, n9=400), line(40, Bread=100, Milk=140, Eggs=400)],
        [line(20, n5=140, n7=160, n9=180), line(40, A=140, B=160, C=180), line(60, Far=40, away=600)],
        [line(20, Plain=50, text=100, here=150), line(40, and_more=100)],
        [AXIS],
        [],
    ],
    ids=["table", "numbers alone", "one value", "uneven", "narrow", "text", "labels alone", "nothing"],
)
def test_what_is_no_chart_stays_as_it_is(lines):
    assert by_columns(lines) == lines


def test_a_legend_below_years_is_no_axis():
    legend = line(230, Red_ones=100, Green_ones=220, Blue_ones=340)
    assert texts(by_columns([*BARS, AXIS, legend]))[-1] == "Red ones Green ones Blue ones"
