"""OCR excerpt: which lines stay where a prompt can't hold all, and that the cut is counted."""

import pytest

from vlm_demo.contracts import OcrResult, OcrWord, Prompt
from vlm_demo.errors import PromptTooLong
from vlm_demo.runtime.ocr_excerpt import excerpt, fitted


def reading(*lines: str) -> OcrResult:
    words = tuple(OcrWord(word, (0, 0, 9, 9), 90.0) for line in lines for word in line.split())
    return OcrResult("\n".join(lines), words, 0.5)


FILLER = [f"paragraph {number} about nothing much" for number in range(40)]
INVOICE = reading(*FILLER[:20], "Invoice number 4711", *FILLER[20:30], "Amount of the total", "128.50", *FILLER[30:])


def prompt(readings: tuple[OcrResult, ...], question: str = "What is it?") -> Prompt:
    """A token for each word."""
    words = " ".join([*(reading.text for reading in readings), question]).split()
    return Prompt(" ".join(words), tuple(range(len(words))), 0, (), ())


def test_the_lines_that_the_question_is_about_stay_with_their_neighbours() -> None:
    (left,) = excerpt((INVOICE,), "What are the totals?", 180, str.split)
    assert "Amount of the total" in left.text and "128.50" in left.text
    assert "4711" not in left.text
    (left,) = excerpt((INVOICE,), "Which number does the invoice have?", 180, str.split)
    assert "Invoice number 4711" in left.text and "128.50" not in left.text


def test_what_stays_keeps_its_order_and_what_goes_is_counted() -> None:
    (left,) = excerpt((INVOICE,), "What is the total?", 100, str.split)
    lines = INVOICE.text.split("\n")
    places = [lines.index(line) for line in left.text.split("\n")]
    assert places == sorted(places) and left.text.split() == [word.text for word in left.words]
    assert left.left_out == len(INVOICE.words) - len(left.words)
    assert 100 <= left.left_out <= 105  # whole lines, no more of them than needed
    (less,) = excerpt((left,), "What is the total?", 20, str.split)
    assert less.left_out == len(INVOICE.words) - len(less.words)


def test_without_a_hint_the_end_goes_first() -> None:
    (left,) = excerpt((reading("one", "two", "three", "four"),), "Is it?", 2, str.split)
    assert left.text == "one\ntwo"


def test_of_several_pictures_each_keeps_its_own() -> None:
    first, second = excerpt(
        (reading("apples 3", "blah blah"), reading("one two", "pears 4")), "How many pears?", 6, str.split
    )
    assert first.text == "" and second.text == "pears 4" and (first.left_out, second.left_out) == (4, 2)


def test_a_prompt_that_fits_is_left_alone() -> None:
    made, kept = fitted(prompt, (INVOICE,), "What is it?", 500, str.split)
    assert kept == (INVOICE,) and made == prompt((INVOICE,))


def test_a_prompt_is_cut_until_it_fits() -> None:
    built = []

    def build(readings: tuple[OcrResult, ...]) -> Prompt:
        built.append(readings)
        made = prompt(readings)
        if len(made.ids) > 120:
            raise PromptTooLong("It is too long.", len(made.ids))
        return made

    made, (kept,) = fitted(build, (INVOICE,), "What is the total?", 60, str.split)
    assert 40 < len(made.ids) <= 60 and "128.50" in kept.text and kept.left_out > 100
    assert built[-1] == (kept,)  # what is returned is what stands in the prompt


def test_tokens_that_are_more_than_was_counted_are_cut_all_the_same() -> None:
    made, (kept,) = fitted(prompt, (INVOICE,), "Is it?", 30, lambda line: [0] * 50)
    assert len(made.ids) <= 30 and kept.left_out


def test_a_question_that_is_too_long_by_itself_says_so() -> None:
    def build(readings: tuple[OcrResult, ...]) -> Prompt:
        raise PromptTooLong("Shorten the question.", 1000)

    with pytest.raises(PromptTooLong, match="Shorten the question"):
        fitted(build, (reading("TOTAL 5"),), "long", 60, str.split)
