"""Where a prompt is cut into pieces, and how much of it two prompts share."""

import numpy as np
import pytest

from vlm_demo import Pipeline, Turn
from vlm_demo.runtime.prefix_cache import CachedPrefix, PromptKey, stops_of


def text(
    ids: list[int], stops: tuple[int, ...], pictures: tuple[str, ...] = (), starts: tuple[int, ...] = ()
) -> PromptKey:
    return PromptKey(np.array(ids), (*stops, len(ids)), pictures, starts)


def test_whole_pieces_that_are_alike_are_shared() -> None:
    one = text([1, 2, 3, 4, 5, 6], (2, 4))
    assert one.shared(one) == 6
    assert one.shared(text([1, 2, 3, 4, 9, 6], (2, 4))) == 4
    assert one.shared(text([1, 2, 3, 9, 5, 6], (2, 4))) == 2
    assert one.shared(text([9, 2, 3, 4, 5, 6], (2, 4))) == 0
    assert text([1, 2, 3, 4], (2,)).shared(text([1, 2, 3, 4, 5, 6], (2, 4))) == 4


def test_the_same_tokens_in_other_pieces_are_not_shared() -> None:
    """They were computed in products of other shapes, and may differ in their last bits."""
    assert text([1, 2, 3, 4, 5, 6], (2, 4)).shared(text([1, 2, 3, 4, 5, 6], (4,))) == 0
    assert text([1, 2, 3, 4, 5, 6], (2, 4)).shared(text([1, 2, 3, 4, 5, 6], (2, 5))) == 2


@pytest.mark.parametrize(
    ("pictures", "starts", "shared"),
    [
        (("a", "b"), (1, 4), 8),
        (("a", "x"), (1, 4), 3),  # the same ids, for image tokens are all alike
        (("x", "b"), (1, 4), 0),
        (("a",), (1,), 3),
        ((), (), 0),
        (("x", "b"), (0, 0), 0),
    ],
)
def test_another_picture_ends_what_is_shared_where_it_begins(
    pictures: tuple[str, ...], starts: tuple[int, ...], shared: int
) -> None:
    ids = [1, 7, 7, 2, 7, 7, 3, 4]
    one, two = text(ids, (3, 6), ("a", "b"), (1, 4)), text(ids, (3, 6), pictures, starts)
    assert one.shared(two) == two.shared(one) == shared


def test_pieces_end_behind_the_pictures_and_before_answers(pipe: Pipeline, noise) -> None:
    prompt = pipe.stages().prompt("How many circles are there?", [16])
    (stop,) = stops_of(prompt)
    assert stop == prompt.image_positions[-1] + 1
    later = pipe.stages().prompt(
        "Is there a red square?", [16, 16], history=[Turn("How many circles are there?", "two", (noise(9, 9),))]
    )
    first, answer, last = stops_of(later)
    assert (first, answer) == (stop, len(prompt.ids))
    assert later.ids[:answer] == prompt.ids
    assert last == later.image_positions[-1] + 1


def test_ocr_text_and_the_rule_change_only_what_comes_behind_the_picture(pipe: Pipeline) -> None:
    plain = pipe.stages().prompt("Is there a red square?", [16])
    other = pipe.stages().prompt("Is there a red square?", [16], ocr_text="TOTAL 12.50", evidence_only=True)
    assert list(stops_of(plain)) == list(stops_of(other))
    (stop,) = stops_of(plain)
    assert plain.ids[:stop] == other.ids[:stop] and plain.ids != other.ids


def test_of_questions_about_one_picture_the_last_is_kept_and_a_chat_that_went_further(pipe: Pipeline, noise) -> None:
    image, other = noise(9, 9), noise(8, 8)

    def kept() -> list[int]:
        return sorted(len(prefix.text.ids) for prefix in pipe.remembered.of(CachedPrefix))

    pipe.remembered.clear()
    for question in ("What is it?", "How many circles are there?", "Which colour is it?"):
        pipe.ask(image, question, max_new_tokens=2)
    assert len(kept()) == 1
    pipe.ask((), "Why?", history=[Turn("Which colour is it?", "red", (image,))], max_new_tokens=2)
    assert len(kept()) == 1  # it begins with what was there
    pipe.ask(image, "What is it?", max_new_tokens=2)
    assert len(kept()) == 2
    pipe.ask(other, "What is it?", max_new_tokens=2)
    assert len(kept()) == 3
