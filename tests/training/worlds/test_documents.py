"""Documents: what is printed adds up, stands where it is said to stand, and is asked for only where OCR read it."""

import itertools
import re
from functools import lru_cache

import numpy as np
import pytest

from vlm_demo.training.worlds.document_questions import ASKERS, makers
from vlm_demo.training.worlds.documents import draw_document
from vlm_demo.training.worlds.forms import draw_form
from vlm_demo.training.worlds.invoices import draw_invoice
from vlm_demo.training.worlds.letters import draw_letter
from vlm_demo.training.worlds.paper import Sheet, least_width, worn
from vlm_demo.training.worlds.receipts import draw_receipt
from vlm_demo.training.worlds.tables import draw_table

DRAWN = {
    "receipt": draw_receipt,
    "invoice": draw_invoice,
    "letter": draw_letter,
    "table": draw_table,
    "form": draw_form,
}
NOT_FIELDS = ("type", "currency", "terms")


@lru_cache(maxsize=400)
def _picture(draw, seed):
    return draw(np.random.default_rng([8, seed]))


def _pictures(draw, count):
    return [_picture(draw, seed) for seed in range(count)]


def _amount(text):
    """An amount however it is written: the last mark before two digits is the decimal point."""
    return float(re.sub(r"[.,  ]", "", text)) / 100


def _asked(picture, rng, read, times=12):
    """Questions as they are made, each kind as often as its weight says."""
    found = makers(picture, rng, read)
    weights = np.array([weight for weight, _ in found])
    for i in rng.choice(len(found), times, p=weights / weights.sum()):
        made = found[int(i)][1]()
        if made is not None:
            yield made


@pytest.mark.parametrize("draw", [*DRAWN.values(), draw_document])
def test_the_same_seed_draws_the_same_document(draw):
    for seed in range(4):
        one, two = draw(np.random.default_rng(seed)), draw(np.random.default_rng(seed))
        assert np.array_equal(np.asarray(one.image), np.asarray(two.image)) and one.facts == two.facts
        assert not np.array_equal(np.asarray(one.image), np.asarray(draw(np.random.default_rng(seed + 90)).image))


def test_every_sort_is_drawn_and_half_are_receipts_most_of_them_long():
    pictures = _pictures(draw_document, 90)
    sorts = [picture.facts["type"] for picture in pictures]
    assert set(sorts) == set(DRAWN) == set(ASKERS)
    assert 0.4 < sorts.count("receipt") / len(sorts) < 0.6
    lengths = [len(picture.facts["texts"]) for picture in pictures if picture.facts["type"] == "receipt"]
    assert 0.5 < np.mean(np.array(lengths) >= 25) < 0.8
    assert all(picture.kind == "documents" and len(picture.things) <= 60 for picture in pictures)


@pytest.mark.parametrize("sort", list(DRAWN))
def test_a_fact_stands_in_the_line_that_is_said_to_carry_it(sort):
    checked = 0
    for picture in _pictures(DRAWN[sort], 40):
        facts = picture.facts
        values = {k: v for k, v in facts.items() if isinstance(v, str) and k not in NOT_FIELDS}
        values |= facts.get("fields", {})
        printed = " ".join(facts["texts"])
        for key, value in values.items():
            assert " ".join(value.split()) in printed, (key, value)
            if key == "shop" and value not in facts["texts"]:
                continue  # on two lines
            key = {"table": "table number"}.get(key, key)
            if key in facts["where"]:
                assert value in picture.things[facts["where"][key]].text, (key, value)
                checked += 1
        for i, row in enumerate(facts.get("rows", ())):
            assert picture.things[facts["where"][f"row {i}"]].text == " ".join(row)
            checked += 1
    assert checked > 100


def test_the_cash_less_the_change_is_the_total():
    checked = 0
    for picture in _pictures(draw_receipt, 40):
        facts = picture.facts
        if "change" in facts:
            assert _amount(facts["cash"]) - _amount(facts["change"]) == pytest.approx(
                _amount(facts["total"]), abs=0.001
            )
            checked += 1
    assert checked > 8


def test_an_invoice_adds_up():
    for picture in _pictures(draw_invoice, 40):
        facts, total = picture.facts, 0.0
        for i in range(len(facts["items"])):
            line = picture.things[facts["where"][f"item {i}"]].text
            total += _amount(re.findall(r"[\d.,]+[.,]\d\d", line)[-1])
        if "subtotal" in facts and " " not in facts["subtotal"]:
            assert total == pytest.approx(_amount(facts["subtotal"]), abs=0.02)
            tax = _amount(facts["tax"]) if "tax" in facts else 0.0
            assert _amount(facts["subtotal"]) + tax == pytest.approx(_amount(facts["total"]), abs=0.001)


def test_ink_lies_in_the_boxes_of_the_lines_however_the_page_lies():
    shares = []
    for picture in _pictures(draw_letter, 40):
        gray = np.asarray(picture.image.convert("L")).astype(float)
        corners = gray[[0, 0, -1, -1], [0, -1, 0, -1]]
        if any(t.shape == "logo" for t in picture.things) or np.ptp(corners) > 12 or corners.min() < 200:
            continue
        dark = gray < np.median(gray) - 60
        inside = np.zeros_like(dark)
        for thing in picture.things:
            x0, y0, x1, y1 = (round(v) for v in thing.box)
            inside[max(y0 - 1, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 3] = True
        if dark.sum() > 500:
            shares.append((dark & inside).sum() / dark.sum())
            assert inside.mean() < 0.6
    assert len(shares) > 5 and np.median(shares) > 0.95 and min(shares) > 0.6  # a letterhead's rule is no line of text


def test_a_ticked_box_is_darker_than_the_others_of_its_form():
    right = wrong = 0
    for picture in _pictures(draw_form, 40):
        gray = np.asarray(picture.image.convert("L")).astype(float)
        tones = {True: [], False: []}
        for label, ticked in picture.facts["ticks"].items():
            x0, y0, x1, y1 = (round(v) for v in picture.things[picture.facts["where"][f"tick {label}"]].box)
            box = gray[y0 + 1 : y1 - 1, x0 : x0 + (y1 - y0)]
            tones[ticked].append(np.percentile(box, 80) - box.mean())
        if tones[True] and tones[False]:
            right += min(tones[True]) > max(tones[False])
            wrong += min(tones[True]) <= max(tones[False])
    assert right + wrong > 10 and right / (right + wrong) > 0.8


@pytest.mark.parametrize("sort", list(DRAWN))
def test_what_is_copied_was_read_and_without_ocr_nothing_is(sort):
    copied = unknown = 0
    for seed, picture in enumerate(_pictures(DRAWN[sort], 12)):
        rng = np.random.default_rng(seed)
        read = picture.facts["texts"][: len(picture.facts["texts"]) * 2 // 3]
        for made in _asked(picture, rng, read):
            for turn in (made, made.follow):
                if turn is not None and turn.copied:
                    assert turn.copied in turn.answer and any(turn.copied in line for line in read)
                    copied += 1
            assert (made.guess is not None) == (made.answer == "unknown")
            assert all(0 <= i < len(picture.things) for _, things in made.looks for i in things)
        for made in _asked(picture, rng, None):
            assert not made.copied
            unknown += made.answer == "unknown"
    assert copied > 20 and unknown > 40


def test_a_total_that_was_misread_is_not_asked_for():
    asked = 0
    for seed, picture in enumerate(_pictures(draw_receipt, 30)):
        rng = np.random.default_rng(seed)
        line = picture.things[picture.facts["where"]["total"]].text
        read = [
            text.replace("0", "O").replace("1", "l") + "x" if text == line else text for text in picture.facts["texts"]
        ]
        other = [text for text in read if picture.facts["total"] in text]
        asker = ASKERS["receipt"](picture, rng, read)
        made = asker.asked("total")
        assert made is None or other, made
        asked += ASKERS["receipt"](picture, rng, picture.facts["texts"]).asked("total") is not None
    assert asked == 30


def test_a_value_read_in_a_strange_line_does_not_count():
    picture = draw_receipt(np.random.default_rng(3))
    total, rng = picture.facts["total"], np.random.default_rng(0)
    assert ASKERS["receipt"](picture, rng, ["Elsewhere", f"Qqq {total}"]).asked("total") is None
    assert ASKERS["receipt"](picture, rng, [f"1{total}"]).asked("total") is None


@pytest.mark.parametrize("sort", ["receipt", "invoice"])
def test_a_statement_about_the_total_is_true_exactly_if_it_names_it(sort):
    answers = []
    for seed, picture in enumerate(_pictures(DRAWN[sort], 30)):
        asker = ASKERS[sort](picture, np.random.default_rng(seed), picture.facts["texts"])
        for _ in range(25):
            made = asker.statement()
            said = made and re.fullmatch(r"the total(?: amount)? is (.*)|(.*) is the total", made.fields["statement"])
            if said:
                true = (said[1] or said[2]) == picture.facts["total"]
                assert made.answer in (("yes", "true") if true else ("no", "false")), made
                answers.append(true)
    assert len(answers) > 40 and 0.35 < np.mean(answers) < 0.65


def test_a_cell_is_that_of_its_row_and_column():
    known = unknown = 0
    for seed, picture in enumerate(_pictures(draw_table, 40)):
        asker = ASKERS["table"](picture, np.random.default_rng(seed), picture.facts["texts"])
        headers = [header.lower() for header in picture.facts["headers"]]
        rows = {row[0].lower(): row for row in picture.facts["rows"]}
        for _ in range(6):
            made = asker.cell()
            if made is None:
                continue
            row, column = rows.get(made.fields["row"].lower()), made.fields["column"].lower()
            if row is None or column not in headers:
                assert made.answer == "unknown"
                unknown += 1
            else:
                assert made.answer == row[headers.index(column)]
                known += 1
    assert 0.08 < unknown / (known + unknown) < 0.3


def test_words_are_said_to_be_mentioned_as_often_as_not_and_only_if_they_are():
    answers = []
    for seed, picture in enumerate(_pictures(draw_document, 60)):
        asker = ASKERS[picture.facts["type"]](picture, np.random.default_rng(seed), picture.facts["texts"])
        for made in filter(None, (asker.mention() for _ in range(4))):
            there = made.fields["word"].lower() in "\n".join(picture.facts["texts"]).lower()
            assert made.answer == ("yes" if there else "no")
            answers.append(there)
    assert 0.4 < np.mean(answers) < 0.6


def test_fields_that_are_not_there_are_unknown_in_some_but_not_most_questions():
    answers = []
    for seed, picture in enumerate(_pictures(draw_receipt, 40)):
        asker = ASKERS["receipt"](picture, np.random.default_rng(seed), picture.facts["texts"])
        answers += [made.answer == "unknown" for made in (asker.field() for _ in range(8)) if made]
    assert 0.06 < np.mean(answers) < 0.25


def test_lines_side_by_side_are_read_as_one_and_things_turn_with_the_page():
    from vlm_demo.training.worlds.fonts import font

    sheet, face = Sheet(400, 0), font("sans", 16)
    sheet.line(50, [(10, "l", "Tea")], face)
    sheet.line(20, [(390, "r", "right")], face, ["number"])
    sheet.line(21, [(10, "l", "left")], face)
    assert [[line.text for line in row] for row in sheet.rows()] == [["left", "right"], ["Tea"]]
    things, where = sheet.things()
    assert things[where["number"]].text == "right" and things[where["number"]].box[2] == 390
    for seed in range(30):
        image, moved, printed = worn(sheet, 100, things, np.random.default_rng(seed))
        assert printed["texts"] == ["left right", "Tea"]
        for word, thing in zip(itertools.chain(*printed["words"]), (moved[2], moved[1], moved[0]), strict=True):
            assert word.text == thing.text
            assert np.allclose(word.box, thing.box, atol=0.06 * image.width)
        assert image.mode == "RGB" and len(moved) == 3
        assert np.hypot(*np.subtract(moved[0].centre, moved[2].centre)) == pytest.approx(
            np.hypot(*np.subtract(things[0].centre, things[2].centre)), rel=0.05
        )
    wide = least_width([(0.0, "l", "Balance due"), (1.0, "r", "12.50")], face)
    assert face.getlength("Balance due12.50") < wide < face.getlength("Balance due12.50") + 16
