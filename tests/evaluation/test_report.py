"""Intervals against published values, and the shape of the report."""

import json

import pytest

from vlm_demo.evaluation.cider import Captions
from vlm_demo.evaluation.items import Skipped
from vlm_demo.evaluation.report import InOcrText, Report, Score
from vlm_demo.evaluation.yes_no import YesNo
from vlm_demo.intervals import wilson

SECTIONS = ["presence", "cider", "in_ocr_text"]


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),  # the same
        (0, 20, 0.0, 0.1611),  # the same
        (1, 29, 0.0061, 0.1718),  # the same
        (10, 10, 0.7225, 1.0),
    ],
)
def test_the_interval_is_wilsons(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)


def test_pointing_stays_out_of_the_overall_accuracy() -> None:
    report = Report({"b": Score(4, 1), "a": Score(6, 5)}, pointing=Score(2, 0), skipped=[Skipped(3, None, "broken")])
    figures = json.loads(json.dumps(report.as_dict()))
    assert list(figures) == ["overall", "kinds", "yes_no", *SECTIONS, "pointing", "skipped", "settings"]
    assert figures["overall"]["n"] == 10 and figures["overall"]["accuracy"] == 0.6
    assert list(figures["kinds"]) == ["a", "b"]
    assert figures["pointing"]["accuracy"] == 0
    assert figures["skipped"] == [{"place": "line", "line": 3, "image": None, "reason": "broken"}]


def test_nothing_counted_is_null_not_zero() -> None:
    assert Report().as_dict()["pointing"] == {"n": 0, "accuracy": None, "low": None, "high": None}
    assert "pointing" not in Report().table()


def test_the_table_names_kinds_counts_intervals_and_what_was_skipped() -> None:
    report = Report({"count": Score(10, 8)}, skipped=[Skipped(i, "x.png", "no picture") for i in range(30)])
    table = report.table()
    assert "80.0%    49.0% to 94.3%" in table
    assert "skipped: 30" in table and "line 0 (x.png): no picture" in table and "and 10 more" in table


def test_a_kind_of_yes_and_no_shows_how_often_yes_was_answered() -> None:
    found = YesNo(hits=4, false_alarms=1, misses=0, rejections=3)
    report = Report({"exist": Score(8, 7), "colour": Score(2, 2)}, {"exist": found})
    rows = {line.split()[0]: line for line in report.table().splitlines() if line}
    assert rows["exist"].endswith("F1 0.89, yes 62% (true 50%)") and "F1" not in rows["colour"]
    assert report.as_dict()["yes_no"]["exist"]["f1"] == 8 / 9


def test_captions_and_what_ocr_read_have_their_own_tables() -> None:
    cat, dog = Captions(["a cat"], [("a cat",)]), Captions(["a dog", "x"], [("a dog",), ("a cow",)])
    in_ocr_text = InOcrText()
    for found, right in [(True, True), (True, False), (False, True), (True, True)]:
        in_ocr_text.add(found, right)
    report = Report(captions={"one": cat, "two": dog}, in_ocr_text={"total": in_ocr_text})
    rows = {line.split()[0]: line.split() for line in report.table().splitlines() if line}
    assert rows["one"] == ["one", "1", "-"] and rows["two"][1:3] == ["2", "250.0"]  # words and pairs, "a" is no news
    assert rows["total"] == ["total", "4", "75.0%", "66.7%", "20.8%", "to", "93.9%"]
    assert rows["overall"][1] == "3" and "accuracy" in report.table()
    figures = json.loads(json.dumps(report.as_dict()))
    assert figures["cider"]["overall"]["n"] == 3 and figures["in_ocr_text"]["kinds"]["total"]["share"] == 0.75
    assert Report().as_dict()["cider"] == {"overall": Captions().as_dict(), "kinds": {}}
    assert "OCR" not in Report().table() and "CIDEr" not in Report().table()
