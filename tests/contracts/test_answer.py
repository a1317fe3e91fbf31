"""Answers: words, tokens and the steps that belong to a word."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import tests.kit.tiny as tiny
from tests.kit.planted_answer import SAID, answer, patches
from vlm_demo.contracts import Token, Word
from vlm_demo.errors import VlmDemoError, WordNotInAnswer
from vlm_demo.runtime.detokenizer import Detokenizer, words_of


@pytest.mark.parametrize(
    ("word", "steps"),
    [
        ("large", {1}),
        ("LARGE!", {1}),
        ("circle", {3, 4}),
        ("circle,", {3, 4}),
        ("red", {2}),
        ("red square", {8, 9}),
        ("red circle", {2, 3, 4}),
        ("square large", {1, 9}),
        ("“square”", {9}),
        (0, {0}),
        (np.int64(9), {9}),
    ],
)
def test_a_words_map_is_of_the_steps_that_wrote_it(word: str | int, steps: set[int]) -> None:
    assert patches(SAID.heatmap(word)) == steps


def test_a_word_of_the_answer_is_meant_where_it_stands() -> None:
    assert SAID.words[-2].text == "Red"
    assert patches(SAID.heatmap(SAID.words[-2])) == {8}
    assert (SAID.heatmap(SAID.words[3]) == SAID.heatmap("circle")).all()
    with pytest.raises(WordNotInAnswer, match="“Red”.*A, large"):
        SAID.heatmap(Word("Red", 1, 2))


def test_a_words_punctuation_is_left_out_and_a_words_bytes_are_not() -> None:
    given = answer("(", "", "é", "t", "é", "", ")", " -", "-", " 1", ",", "5")
    assert patches(given.heatmap("été")) == {1, 2, 3, 4}
    assert patches(given.heatmap("--")) == {7, 8}
    assert patches(given.heatmap("1,5")) == {9, 11}


def test_one_words_map_does_not_cast_the_whole_trace() -> None:
    given = answer(*[" star"] * 12)
    image = np.random.default_rng(0).random((400, 8, 4, 16)).astype(np.float16)
    given = replace(given, trace=replace(given.trace, image=image))
    given.heatmap(0)  # what is loaded once is not counted
    tracemalloc.start()
    try:
        given.heatmap(3)
        given.picture_share(3)
        assert tracemalloc.get_traced_memory()[1] < image.nbytes / 4
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("word", ["triangle", "red triangle", "", "  ", "…"])
def test_an_absent_word_lists_the_words(word: str) -> None:
    with pytest.raises(WordNotInAnswer, match=r"A, large, red, circle,, and, a, Red, square\."):
        SAID.heatmap(word)


@pytest.mark.parametrize("index", [-1, 11, 99])
def test_a_token_out_of_range(index: int) -> None:
    with pytest.raises(WordNotInAnswer, match="11, counted from 0"):
        SAID.heatmap(index)


def test_each_picture_has_its_own_map() -> None:
    two = answer("a", " star", pictures=2)
    assert patches(two.heatmap("star", image=0)) == {1}
    assert patches(two.heatmap("star", image=1)) == {14}
    with pytest.raises(VlmDemoError, match="no picture 2"):
        two.heatmap("star", image=2)


def test_methods_and_missing_attention() -> None:
    assert patches(SAID.heatmap("large", method="last")) == {1}
    assert patches(SAID.heatmap("large", method="localised")) == {1}
    with pytest.raises(VlmDemoError, match="mean, localised, last"):
        SAID.heatmap("large", method="wish")
    with pytest.raises(VlmDemoError, match="No attention"):
        answer("a", trace=False).heatmap("a")


class TestDetokenizer:
    @pytest.mark.parametrize(
        "text", ["a red circle", "3 Kreise: Größe", "这里有五个圆", "🟣🟣 one", "", "  a \n b  ", "né́e"]
    )
    def test_token_texts_join_to_the_text(self, text: str) -> None:
        words = tiny.tokenizer()
        writing = Detokenizer(words)
        for id_ in words(text)["input_ids"]:
            before = writing.text
            token = writing.add(id_, 1.0)
            assert writing.text == before + token.text and "\ufffd" not in token.text
        writing.finish()
        assert writing.text == text == "".join(token.text for token in writing.tokens)

    def test_a_character_cut_short_is_shown_as_the_tokenizer_shows_it(self) -> None:
        words = tiny.tokenizer()
        ids = words("a 🟣")["input_ids"][:-1]
        writing = Detokenizer(words)
        for id_ in ids:
            writing.add(id_, 1.0)
        assert writing.text == "a "
        writing.finish()
        assert writing.text == words.decode(ids) == "".join(token.text for token in writing.tokens)

    def test_special_tokens_have_no_text(self) -> None:
        words = tiny.tokenizer()
        writing = Detokenizer(words)
        for id_ in words("<|user|>yes<s>")["input_ids"]:
            writing.add(id_, 1.0)
        assert writing.text == "yes"


class TestWords:
    def test_ranges_of_tokens(self) -> None:
        words = words_of([Token(text, 0, 1.0) for text in ("a", " cir", "cle", " ", "\n", "two words", "s")])
        assert [(w.text, w.start, w.stop) for w in words] == [
            ("a", 0, 1),
            ("circle", 1, 3),
            ("two", 5, 6),
            ("wordss", 5, 7),
        ]

    def test_bytes_of_a_character_belong_to_its_word(self) -> None:
        words = words_of([Token(text, 0, 1.0) for text in ("a ", "", "", "🟣", " b")])
        assert [(w.text, w.start, w.stop) for w in words] == [("a", 0, 1), ("🟣", 1, 4), ("b", 4, 5)]

    def test_no_tokens(self) -> None:
        assert words_of([]) == ()


def test_the_share_of_attention_on_the_picture() -> None:
    given = answer("A", " red", " circle")
    given.trace.image[1] *= 0.5
    assert given.picture_share("A") == pytest.approx(0.5 + 15e-3, rel=1e-2)
    assert given.picture_share(1) == pytest.approx(given.picture_share("A") / 2, rel=1e-2)
    assert given.picture_share(given.words[1]) == given.picture_share(1)
    assert given.picture_share("red circle") == pytest.approx(0.75 * given.picture_share("A"), rel=1e-2)
    assert answer("A", trace=False).picture_share("A") is None
    crossed = replace(given, trace=replace(given.trace, text=None, first=None))
    assert crossed.picture_share("A") is None and crossed.heatmap("A").max() == 1
    with pytest.raises(WordNotInAnswer):
        given.picture_share("square")
