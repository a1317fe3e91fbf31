"""CIDEr-D, against cases worked out by hand and what must hold for any sentences."""

import math

import numpy as np
import pytest

from vlm_demo.evaluation.cider import Captions, cider_d, tokens

CAT, DOG = "a cat sleeps here", "the dog runs away"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A man's dog, isn't it?", ["a", "man", "'s", "dog", "is", "n't", "it"]),
        ("Two three-wheeled carts -- 1,000 of them!", ["two", "three-wheeled", "carts", "1,000", "of", "them"]),
        ("They’re at 5 o'clock.", ["they", "'re", "at", "5", "o'clock"]),
        ('"...!"', []),
    ],
)
def test_words_are_those_of_the_treebank(text: str, words: list[str]) -> None:
    assert tokens(text) == words


def test_a_sentence_like_its_only_reference_has_the_full_ten() -> None:
    assert cider_d([CAT, DOG.upper() + "."], [[CAT], [DOG]]) == pytest.approx([10, 10])


def test_nothing_in_common_is_zero() -> None:
    assert cider_d([DOG, CAT, ""], [[CAT], [DOG], ["nothing of both"]]) == pytest.approx([0, 0, 0])


def test_half_of_the_words_by_hand() -> None:
    # Every word is in one of two pictures: idf ln 2 for all. "a cat" against "a cat sleeps here": of single words
    # 2 in common, cosine 2 / (√2 · 2); of pairs 1 in common, 1 / (1 · √3); no triple; 2 words shorter.
    expected = 10 * (1 / math.sqrt(2) + 1 / math.sqrt(3)) / 4 * math.exp(-4 / 72)
    assert cider_d(["a cat", DOG], [[CAT], [DOG]])[0] == pytest.approx(expected)


def test_rare_words_weigh_more_by_hand() -> None:
    # "cat" is in one of three pictures, "red" in two, "a" in all: idf ln 3, ln 1.5, 0.
    rare, common = math.log(3), math.log(1.5)
    found = cider_d(["red", "cat", "x"], [["a red cat"], ["a red cat"], ["a bird"]])
    assert found[0] == found[1]  # both are in two pictures: the reference holds them twice
    found = cider_d(["cat", "red", "x"], [["a red cat"], ["a red dog"], ["a bird"]])
    damped = 10 / 4 * math.exp(-4 / 72) / math.hypot(rare, common)
    assert found[:2] == pytest.approx([damped * rare, damped * common])


def test_several_references_count_alike() -> None:
    one = cider_d(["a cat", DOG], [[CAT, "some bird flies"], [DOG]])[0]
    assert one == pytest.approx(cider_d(["a cat", DOG], [["some bird flies", CAT], [DOG]])[0])
    assert 0 < one < cider_d(["a cat", DOG], [[CAT], [DOG]])[0]


def test_saying_a_word_again_does_not_help() -> None:
    once, twice, often = (cider_d([text, DOG], [[CAT], [DOG]])[0] for text in ("cat", "cat cat", "cat cat cat cat"))
    # "cat cat" is nearer in length; no more than that is gained, and four times loses nothing but clipping's worth.
    assert twice <= once * math.exp(5 / 72) and often < once * math.exp(9 / 72)
    same = cider_d([CAT + " cat", DOG], [[CAT], [DOG]])[0]
    assert same < cider_d([CAT, DOG], [[CAT], [DOG]])[0]


def test_one_picture_alone_scores_nothing() -> None:
    assert cider_d([CAT], [[CAT]]) == pytest.approx([0])
    lonely = Captions()
    lonely.add(CAT, [CAT])
    assert lonely.as_dict() == {"n": 1, "cider": None, "low": None, "high": None}


def test_the_report_is_times_a_hundred_with_an_interval_around_it() -> None:
    captions = Captions()
    for i in range(40):
        captions.add(f"thing{i} number {i}" if i % 2 else "something", [f"thing{i} number {i}"])
    figures = captions.as_dict()
    scores = cider_d(captions.predictions, captions.references)
    assert figures["n"] == 40 and figures["cider"] == pytest.approx(100 * scores.mean())
    assert figures["low"] < figures["cider"] < figures["high"]
    spread = 1.96 * 100 * scores.std() / math.sqrt(40)
    assert figures["high"] - figures["low"] == pytest.approx(2 * spread, rel=0.15)
    assert figures == captions.as_dict()


def test_pooled_pictures_are_one_set() -> None:
    one, two = Captions([CAT], [(CAT,)]), Captions([DOG], [(DOG,)])
    assert (one + two).as_dict()["cider"] == pytest.approx(1000)
    assert np.all(cider_d([], []) == np.zeros(0))
