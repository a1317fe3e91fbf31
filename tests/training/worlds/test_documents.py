"""Documents: printed amounts add up, fields are where the facts say, and only what OCR read is asked for."""

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


def questions_of(picture, ocr_lines, seed=0, times=4):
    forms = DocumentAsker(picture, np.random.default_rng(seed), ocr_lines).forms()
    return [question for form in forms for _ in range(times) if (question := form.make())]


def test_the_same_seed_draws_the_same_document():
    for seed in range(5):
        one, two = draw_document(np.random.default_rng(seed)), draw_document(np.random.default_rng(seed))
        assert one.image.tobytes() == two.image.tobytes() and one.facts == two.facts
        assert one.image.tobytes() != draw_document(np.random.default_rng(seed + 90)).image.tobytes()


def test_every_sort_is_drawn_and_half_are_receipts():
    sorts = [draw_document(np.random.default_rng(seed)).facts["type"] for seed in range(40)]
    assert set(sorts) == set(SORTS) and 0.3 < sorts.count("receipt") / 40 < 0.7


@pytest.mark.parametrize("sort", list(SORTS))
def test_a_field_is_in_the_line_that_the_facts_name(sort):
    checked = 0
    for picture in drawn(sort):
        facts = picture.facts
        expected = {f"{name} 0" if name == "address" else name: value for name, value in facts["fields"].items()}
        expected |= {f"item {i}": item["price"] for i, item in enumerate(facts.get("items", ()))}
        expected |= {f"row {i}": " ".join(row) for i, row in enumerate(facts.get("rows", ()))}
        expected |= {f"entry {i}": value for i, (_, value) in enumerate(facts.get("entries", ()))}
        expected |= {f"tick {i}": label for i, (label, _) in enumerate(facts.get("ticks", ()))}
        for name, value in expected.items():
            line = picture.things[facts["where"][name]].text.replace(" ", "")
            assert value.replace(" ", "") in line, (name, value, line)
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
    """Other than words there are only rules and a logo."""
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
            for question in questions_of(picture, facts["texts"], number):
                kinds.add(question.kind)
                if question.guess is not None:
                    assert question.answer == "unknown"
                    if question.kind in names:
                        assert names[question.kind] not in facts["fields"]
                    continue
                if question.kind in names:
                    assert question.answer == facts["fields"][names[question.kind]]
                elif question.kind in ("price", "quantity"):
                    (item,) = (item for item in facts["items"] if item["name"] == question.fields["item"])
                    assert question.answer == item[question.kind]
                elif question.kind == "table cell":
                    (row,) = (row for row in facts["rows"] if row[0] == question.fields["row"])
                    column = [name.lower() for name in facts["headers"]].index(question.fields["column"])
                    assert question.answer == row[column]
                elif question.kind == "ticked":
                    assert (question.answer == "yes") == dict(facts["ticks"])[question.fields["label"]]
                elif question.kind == "form field":
                    assert question.answer in dict(facts["entries"]).values()
                elif question.kind == "mention":
                    assert (question.answer == "yes") == (question.fields["word"] in " ".join(facts["texts"]).split())
    assert len(kinds) > 25


def test_without_ocr_nothing_printed_is_known():
    printed = {*FIELDS, "price", "table cell", "form field", "ticked", "heading", "printed line"}
    for sort in SORTS:
        for picture in drawn(sort, 4):
            questions = [question for question in questions_of(picture, None) if question.kind in printed]
            assert questions and all(question.answer == "unknown" and question.guess for question in questions)


def test_what_ocr_missed_is_not_asked():
    """Read as garbage, no value can be copied."""
    for picture in drawn("receipt", 5):
        garbage = ["~" for _ in picture.facts["texts"]]
        assert not any(question.copied and question.guess is None for question in questions_of(picture, garbage))
    asker = DocumentAsker(drawn("receipt")[0], np.random.default_rng(0), ["Total 112.50"])
    assert not asker.legible("12.50") and asker.legible("112.50")
