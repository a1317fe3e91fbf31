"""The table of bridges shows what the rows hold, and a dash where a family has no such thing."""

import json

from vlm_demo.evaluation import bridges
from vlm_demo.evaluation.bridges import Row, compare, table
from vlm_demo.models.loading import EMBEDDED

SCORE = {"n": 50, "accuracy": 0.84, "low": 0.7, "high": 0.9}


def _row(name, seconds=None, **more):
    given = {"accuracy": {}, "retrieved": None, "matched": None, "image_tokens": None} | more
    return Row(name, "in words", 8_000_000, 100_000, seconds=seconds, **given)


def test_times_are_ratios_to_the_first_row_that_answers():
    shown = table([_row("clip"), _row("llava", 0.2), _row("idefics", 0.3)]).splitlines()
    assert shown[2].endswith("| – |") and shown[3].endswith("| 1.00× |") and shown[4].endswith("| 1.50× |")


def test_what_was_measured_stands_in_its_column():
    row = _row("blip2", accuracy={"charts": SCORE}, matched=SCORE | {"accuracy": 0.9}, image_tokens=49)
    heads, _, cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in table([row]).splitlines()[:3])
    shown = dict(zip(heads, cells, strict=True))
    assert shown["charts"] == "84%" and shown["scenes"] == "–" and shown["ITM"] == "90%" and shown["R@1 of 100"] == "–"
    assert shown["trained / all"] == "0.1 / 8.0 M" and shown["image tokens"] == "49"


def test_the_rows_come_from_the_checkpoint(monkeypatch):
    monkeypatch.setattr(bridges, "PICTURES", 1)
    (row,) = compare(("blip2",))
    config = json.loads((EMBEDDED / "blip2" / "config.json").read_text())
    assert row.image_tokens == config["num_query_tokens"] and row.seconds > 0
    told = json.loads((EMBEDDED / "blip2" / "figures.json").read_text())["held_out"]["scenes"]["overall"]
    assert row.accuracy["scenes"] == told
