"""The metrics, against cases written by hand."""

import pytest

from vlm_demo.evaluation.answers import exact, fits, matches, money, name, number, occurs_in, relaxed, vqa


@pytest.mark.parametrize(
    ("prediction", "answer"),
    [
        ("Red.", "red"),
        ("  RED  ", "red"),
        ("Three", "3"),
        ("3", "three"),
        ("Twenty-one!", "21"),
        ("twenty one", "21"),
        ("one hundred and five", "105"),
        ("two thousand six hundred", "2600"),
        ("nineteen ninety", "19 90"),
        ("zero", "0"),
        ("three circles", "3 circles"),
        ("1,000", "1000"),
        ("$8.20", "8.20"),
        ("4.11.", "4.11"),
        (".5", "0.5"),
        ("14-MAR-2018", "14 Mar 2018"),
        ("25/12/2018", "25-12-2018"),
        ("UNIHAKKA INTERNATIONAL SDN. BHD.", "Unihakka  International\nSdn Bhd"),
        ("<Untitled>", "untitled"),
        ("it’s", "its"),
        ("ＲＥＤ", "red"),
        ("\u22125", "-5"),
        ("?", "?"),
    ],
)
def test_exact_folds_case_punctuation_spacing_and_number_words(prediction: str, answer: str) -> None:
    assert exact(prediction, answer) and exact(answer, prediction)


@pytest.mark.parametrize(
    ("prediction", "answer"),
    [
        ("red", "blue"),
        ("red circle", "red"),
        ("4.11", "411"),
        ("4.11", "4 11"),
        ("-5", "5"),
        ("twenty one", "20 1"),
        ("seven eight", "15"),
        ("a circle", "circle"),
        ("no", "0"),
        ("", "red"),
        ("?", "!"),
        ("", "?"),
    ],
)
def test_exact_keeps_what_carries_meaning(prediction: str, answer: str) -> None:
    assert not exact(prediction, answer) and not exact(answer, prediction)


@pytest.mark.parametrize(
    ("prediction", "answer", "right"),
    [
        ("28", "28", True),
        ("105", "100", True),
        ("95", "100", True),
        ("105.1", "100", False),
        ("94.9", "100", False),
        ("1.05", "1", True),  # a binary float would say no
        ("-95", "-100", True),
        ("95", "-100", False),
        ("0", "0", True),
        ("0.0001", "0", False),
        ("about twenty-one bars", "21", True),
        ("minus five", "-5", True),
        ("The value of A2 is 28.", "28", True),
        ("28 %", "28", True),
        ("20,325,175", "20325175", True),
        ("1.4 million", "1400884", True),
        ("8,3", "8.3333", True),
        ("no idea", "3", False),
        ("", "3", False),
    ],
)
def test_number_is_within_five_percent(prediction: str, answer: str, right: bool) -> None:
    assert number(prediction, answer) is right


@pytest.mark.parametrize(
    "amount", ["1234.56", "1,234.56", "1.234,56", "$1,234.56", "1.234,56 €", "RM 1,234.56", "1'234.56", "1 234,56"]
)
def test_money_is_one_amount_in_every_spelling(amount: str) -> None:
    assert money(amount, "1234.56") and money(f"The total is {amount}.", "RM1234.56")
    assert not money(amount, "1234.57")


@pytest.mark.parametrize(
    ("prediction", "answer", "right"),
    [
        ("RM 9.00", "9.00", True),
        ("9", "9.00", True),
        ("9,00", "9.00", True),
        ("9.0", "9.00", True),
        ("Rs.500", "500.00", True),
        ("1,23,456.78", "123456.78", True),
        ("1.234", "1234", True),
        ("$.50", "0.50", True),
        ("9.01", "9.00", False),
        ("90.0", "9.00", False),
        ("-9.00", "9.00", False),
        ("25/12/2018", "25.00", False),
        ("unknown", "9.00", False),
    ],
)
def test_money_is_equal_to_the_cent(prediction: str, answer: str, right: bool) -> None:
    assert money(prediction, answer) is right


def test_any_of_several_answers_counts() -> None:
    assert matches("exact", "Purple", ["violet", "purple"])
    assert not matches("exact", "pink", ["violet", "purple"])


def test_an_expected_number_must_hold_one() -> None:
    assert fits("number", "28") and fits("money", "RM 9") and fits("exact", "?")
    assert not fits("number", "many") and not fits("money", "cheap")
    assert fits("name", "horse") and not fits("name", "the") and fits("vqa", "A") and fits("relaxed", "Finland")


@pytest.mark.parametrize(
    ("prediction", "answer", "right"),
    [
        ("A brown horse in a field.", "horse", True),
        ("Two HORSES", "a horse", True),
        ("horse", "horses", True),
        ("three buses", "bus", True),
        ("puppies", "puppy", True),
        ("The man is riding the bike", "riding a bike", True),
        ("an orange juice", "orange juice", True),
        ("orange and juice", "orange juice", False),
        ("bike riding", "riding a bike", False),
        ("a seahorse", "horse", False),
        ("a t-shirt", "shirt", False),
        ("a T-shirt", "t-shirt", True),
        ("glas", "glass", False),
        ("juice", "orange juice", False),
        ("", "horse", False),
        ("a", "the", False),
    ],
)
def test_a_name_counts_where_it_occurs_as_whole_words(prediction: str, answer: str, right: bool) -> None:
    assert name(prediction, answer) is right


@pytest.mark.parametrize(
    ("prediction", "answer", "right"),
    [
        ("The dog.", "dog", True),
        ("two", "2", True),
        ("none", "0", True),
        ("T-shirt", "t shirt", True),
        ("don't walk", "dont walk", True),
        ("A", "a", True),
        ("A", "the", False),
        ("dogs", "dog", False),
        ("a brown dog", "dog", False),
    ],
)
def test_vqa_drops_articles_and_nothing_else(prediction: str, answer: str, right: bool) -> None:
    assert vqa(prediction, answer) is right


@pytest.mark.parametrize(
    ("prediction", "answer", "right"),
    [
        ("80", "80.2", True),
        ("80.2%", "80.2", True),
        ("$1,268", "1268.82", True),
        ("three", "3", True),
        ("1.05", "1", True),
        ("1.06", "1", False),
        ("1.4 million", "1400884", True),
        ("2019", "2020", False),
        ("2020", "2020", True),
        ("2019.0", "2020", False),
        ("1950", "1850", False),
        ("1890", "1900", True),  # no year: one of them lies outside
        ("0.01", "0", False),
        ("0.0", "0", True),
        ("finland", "Finland", True),
        ("Finland", "Norway", False),
        ("about 80", "80", False),
        ("2010-2015", "2010-2016", False),
    ],
)
def test_relaxed_is_five_percent_for_numbers_and_exact_for_years_and_words(
    prediction: str, answer: str, right: bool
) -> None:
    assert relaxed(prediction, answer) is right


@pytest.mark.parametrize(
    ("metric", "answer", "text", "expected"),
    [
        ("exact", "BOOK TA .K (TAMAN DAYA) SDN BHD", "tan woon yann\nBOOK TA .K(TAMAN DAYA)\nSDN BHD\n789417-W", True),
        ("exact", "25/12/2018", "Date : 25/12/2018 8:13:39 PM", True),
        ("exact", "25/12/2018", "Date : 25/12/2013", False),
        ("exact", "ten", "often", False),
        ("exact", "?", "What?", False),
        ("money", "9.00", "Total RM9.00\nCash 10.00", True),
        ("money", "$8.20", "5.00\nTotal 8,20", True),
        ("money", "9.00", "19.00 9.01 90", False),
        ("relaxed", "80.2", "1 in 80.21", False),
        ("relaxed", "1268.82", "China 1,268.82", True),
        ("exact", "red", "", False),
    ],
)
def test_an_answer_occurs_in_a_text_as_whole_words_or_as_an_amount(
    metric: str, answer: str, text: str, expected: bool
) -> None:
    assert occurs_in(metric, answer, text) is expected
