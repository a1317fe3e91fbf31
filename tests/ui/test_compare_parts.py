"""What a comparison shows of its columns: the candidates for the first token, and what differs in words."""

from __future__ import annotations

import math

import pytest

from vlm_demo.contracts.events import Alternative, Token
from vlm_demo.ui.tabs.compare import first_token
from vlm_demo.ui.tabs.compare.difference import ADDED, MISSING, between


def test_first_tokens_stand_in_one_order_on_one_scale():
    def answer(*candidates):
        tokens = (
            Token(candidates[0][0], 1, candidates[0][1], tuple(Alternative(t, 1, math.log(p)) for t, p in candidates)),
        )
        return type("Tokens", (), {"tokens": tokens})()

    first, second = answer(("A", 0.6), ("The", 0.3)), answer(("The", 0.7), ("Two", 0.2), ("A", 0.001))
    texts = first_token.shared([first, second])
    assert texts == ["A", "The"]
    shown = [
        [(candidate.probability, candidate.likeliest) for candidate in first_token.of(one, texts)]
        for one in (first, second)
    ]
    assert shown == [[("0.60", True), ("0.30", False)], [("0.00", False), ("0.70", True)]]
    assert first_token.shared([first, answer(("Two", 0.9))]) == ["A", "The", "Two"]
    assert first_token.of(first, ["Two"])[0].probability == "< 0.30"
    assert first_token.of(None, texts) == []


@pytest.mark.parametrize(
    ("other", "summary"),
    [
        ("a red circle", "same words"),
        ("a blue circle", "1 word differs"),
        ("a large red circle", "1 word added"),
        ("a circle", "1 word missing"),
        ("the large green circle indeed", "4 words differ"),
    ],
)
def test_differences_are_summarized_in_words(other, summary):
    difference = between("a red circle".split(), other.split())
    assert difference.summary == summary
    written = [piece.text for piece in difference.pieces if piece.kind != MISSING]
    lost = [piece.text for piece in difference.pieces if piece.kind != ADDED]
    assert (written, lost) == (other.split(), "a red circle".split())
