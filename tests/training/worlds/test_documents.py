"""Documents: what is printed adds up, stands where it is said to stand, and is asked for only where OCR read it."""

import re
from functools import cache

import numpy as np
import pytest

from vlm_demo.training.worlds.document_questions import FIELDS, DocumentAsker
from vlm_demo.training.worlds.documents import SORTS, draw_document

pytestmark = pytest.mark.slow


@cache
def drawn(sort, n=10, held_out=False):
    return [draw_document(np.random.default_rng([8, seed]), held_out, sort) for seed in range(n)]


def cents(text):
    """An amount however it is written: the last mark before two digits is the decimal point."""
    return int(re.sub(r"\D", "", text))


def made_of(picture, read, seed=0, times=4):
    forms = DocumentAsker(picture, np.random.default_rng(seed), read).forms()
    return [made for form in forms for _ in range(times) if (made := form.make())]


def test_the_same_seed_draws_the_same_document():
    for seed in range(5):
        one, two = draw_document(np.random.default_rng(seed)), draw_document(np.random.default_rng(seed))
        assert one.image.tobytes() == two.image.tobytes() and one.facts == two.facts
        assert one.image.tobytes() != draw_document(np.random.default_rng(seed + 90)).image.tobytes()


def test_every_sort_is_drawn_and_half_are_receipts():
    sorts = [draw_document(np.random.default_rng(seed)).facts["type"] for seed in range(40)]
    assert set(sorts) == set(SORTS) and 0.3 < sorts.count("receipt") / 40 < 0.7


@pytest.mark.parametrize("sort", list(SORTS))
def test_a_field_stands_in_the_line_that_is_said_to_carry_it(sort):
    checked = 0
    for picture in drawn(sort):
        facts = picture.facts
        expected = {f"{name} 0" if name == "address" else name: value for name, value in facts["fields"].items()}
        expected |= {f"item {i}": item["price"] for i, item in enumerate(facts.get("items", ()))}
        expected |= {f"row {i}": " ".join(row) for i, row in enumerate(facts.get("rows", ()))}
        expected |= {f"entry {i}": value for i, (_, value) in enumerate(facts.get("entries", ()))}
        expected |= {f"tick {i}": label for i, (label, _) in enumerate(facts.get("ticks", ()))}
        for name, value in expected.items():
            said = picture.things[facts["where"][name]].text.replace(" ", "")
            assert value.replace(" ", "") in said, (name, value, said)
            checked += 1
    assert checked > 30


def test_amounts_add_up():
    for picture in (*drawn("receipt"), *drawn("invoice")):
        facts, fields = picture.facts, picture.facts["fields"]
        total = sum(cents(item["price"]) for item in facts["items"])
        if "subtotal" in fields:
            assert cents(fields["subtotal"]) == total
            total += cents(fields["tax"])
        assert cents(fields["total"]) == total
        if "cash" in fields:
            assert cents(fields["cash"]) - cents(fields["change"]) == total


@pytest.mark.parametrize("sort", list(SORTS))
def test_ink_lies_in_the_boxes_of_the_words_and_hardly_elsewhere(sort):
    """Besides words there are only rules and a logo."""
    for picture in drawn(sort, 6, True):
        gray = np.asarray(picture.image.convert("L")).astype(float)
        dark = gray < np.percentile(gray, 60) - 60
        inside = np.zeros_like(dark)
        for line in picture.facts["words"]:
            for word in line:
                x0, y0, x1, y1 = word.box
                inside[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1] = True
                assert dark[max(0, y0) : y1, max(0, x0) : x1].mean() > 0.02, word
        assert dark[inside].mean() > 3 * dark[~inside].mean()


def test_a_ticked_box_is_dark_and_an_empty_one_is_not():
    seen = set()
    for picture in drawn("form", 14):
        gray = np.asarray(picture.image.convert("L")).astype(float)
        for i, (_, on) in enumerate(picture.facts["ticks"]):
            x0, y0, _, y1 = (round(v) for v in picture.things[picture.facts["where"][f"tick {i}"]].box)
            side = (y1 - y0) * 0.55
            x, y = int(x0 + side / 2), int((y0 + y1) / 2)
            middle = gray[y - 2 : y + 2, x - 2 : x + 2].mean()
            assert (middle < np.median(gray) * 0.6) == on
            seen.add(on)
    assert seen == {True, False}


def test_answers_are_the_printed_values():
    kinds = set()
    for sort in SORTS:
        for number, picture in enumerate(drawn(sort)):
            facts = picture.facts
            names = {kind: name for name, (kind, _, sorts) in FIELDS.items() if sort in sorts and kind != "field"}
            for made in made_of(picture, facts["texts"], number):
                kinds.add(made.kind)
                if made.guess is not None:
                    assert made.answer == "unknown"
                    if made.kind in names:
                        assert names[made.kind] not in facts["fields"]
                    continue
                if made.kind in names:
                    assert made.answer == facts["fields"][names[made.kind]]
                elif made.kind in ("price", "quantity"):
                    (item,) = (item for item in facts["items"] if item["name"] == made.fields["item"])
                    assert made.answer == item[made.kind]
                elif made.kind == "table cell":
                    (row,) = (row for row in facts["rows"] if row[0] == made.fields["row"])
                    column = [name.lower() for name in facts["headers"]].index(made.fields["column"])
                    assert made.answer == row[column]
                elif made.kind == "ticked":
                    assert (made.answer == "yes") == dict(facts["ticks"])[made.fields["label"]]
                elif made.kind == "form field":
                    assert made.answer in dict(facts["entries"]).values()
                elif made.kind == "mention":
                    assert (made.answer == "yes") == (made.fields["word"] in " ".join(facts["texts"]).split())
    assert len(kinds) > 25


def test_without_ocr_nothing_printed_is_known():
    printed = {*FIELDS, "price", "table cell", "form field", "ticked", "heading", "printed line"}
    for sort in SORTS:
        for picture in drawn(sort, 4):
            made = [one for one in made_of(picture, None) if one.kind in printed]
            assert made and all(one.answer == "unknown" and one.guess for one in made)


def test_what_ocr_missed_is_not_asked():
    """Read as garbage, no value can be copied."""
    for picture in drawn("receipt", 5):
        garbage = ["~" for _ in picture.facts["texts"]]
        assert not any(made.copied and made.guess is None for made in made_of(picture, garbage))
    asker = DocumentAsker(drawn("receipt")[0], np.random.default_rng(0), ["Total 112.50"])
    assert not asker.legible("12.50") and asker.legible("112.50")
