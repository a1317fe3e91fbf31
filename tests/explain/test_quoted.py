"""Which words of the text that was read an answer repeats, and the readings without them."""

from dataclasses import replace

import pytest

from tests.kit.planted_answer import answer
from vlm_demo.contracts import OcrResult, OcrWord, Token
from vlm_demo.explain.quoted import others, quoted, read_words, without
from vlm_demo.runtime.detokenizer import words_of


def read(text: str) -> OcrResult:
    words = tuple(OcrWord(word, (10 * i, 0, 10 * i + 9, 9), 90.0) for i, word in enumerate(text.split()))
    return OcrResult(text, words, 0.1)


def answer_words(text: str) -> tuple:
    return words_of([Token(part + " ", i, 0.5) for i, part in enumerate(text.split())])


RECEIPT = read("Blue Moon Café\nTea 2.00\nTOTAL 12.50\nCASH 12.50")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("12.50", "12.50"),
        ("“Blue moon café.”", "Blue Moon Café"),
        ("The total is $12.50.", "12.50"),  # of two runs of one word the one with a number
        ("It says Blue Moon.", "Blue Moon"),
        ("moon tea", "Tea"),  # not one after the other: the last
        ("cafe tea 2.00", "Tea 2.00"),
        ("Café Tea", "Café Tea"),
        ("a red circle", None),
        ("the and", None),
        ("no", None),
    ],
)
def test_the_run_with_most_content_words_that_was_read(text: str, found: str | None) -> None:
    quote = quoted(answer_words(text), [RECEIPT])
    assert (quote and quote.text) == found


def test_function_words_alone_are_no_quotation() -> None:
    assert quoted(answer_words("no"), [read("Invoice No 17")]) is None


def test_words_are_taken_out_wherever_they_stand() -> None:
    quote = quoted(answer_words("12.50"), [RECEIPT])
    assert quote.places == ((0, 6), (0, 8))
    (left,) = without([RECEIPT], quote.places)
    assert left.text == "Blue Moon Café\nTea 2.00\nTOTAL\nCASH" and len(left.words) == 7
    (left,) = without([RECEIPT], {(0, 0), (0, 1), (0, 2)})
    assert left.text == "Tea 2.00\nTOTAL 12.50\nCASH 12.50"
    laid = read("TOTAL   12.50 | 3")
    assert without([laid], {(0, 1)})[0].text == "TOTAL   | 3"
    assert without([RECEIPT], ()) == (RECEIPT,)


def test_other_words_are_as_many_and_none_of_them() -> None:
    places = ((0, 6), (0, 8))
    drawn = others([RECEIPT], places)
    assert len(drawn) == 2 and not set(drawn) & set(places) and drawn == others([RECEIPT], places)
    assert others([read("12.50")], ((0, 0),)) == ()


def test_of_several_pictures_the_words_are_in_the_last_ones() -> None:
    given = replace(answer("12.50", pictures=3), ocrs=(read("nothing here"), RECEIPT))
    quote = quoted(given.words, given.ocrs)
    assert quote.places == ((1, 6), (1, 8))
    assert [(word.image, word.word.text) for word in read_words(quote, given)] == [(2, "12.50"), (2, "12.50")]
