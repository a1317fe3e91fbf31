"""What the page shows next to the time of a stage."""

import pytest

from vlm_demo.contracts import BridgeInfo, StageEvent
from vlm_demo.contracts.events import (
    BridgeFacts,
    CompareFacts,
    DecodeFacts,
    EncoderFacts,
    OcrFacts,
    PrefillFacts,
    PromptFacts,
    StageFacts,
    TextsFacts,
    ViewFacts,
)
from vlm_demo.ui.stage_words import detail

QUERIES = BridgeInfo("Q-Former", "5 queries that look 4 times")
SMALL = (24, 24)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (None, ""),
        (ViewFacts(((200, 70), (9, 8)), ((SMALL,) * 7, (SMALL,))), "200×70 → 7 × 24×24, 9×8 → 24×24"),
        (OcrFacts(1), "1 word"),
        (OcrFacts(0), "0 words"),
        (OcrFacts(9, 2, 1), "9 words, 1 of 2 from memory"),
        (PromptFacts(16, 9), "16 image + 9 text tokens"),
        (PromptFacts(16, 9, 7), "16 image + 9 text tokens, 7 words of the picture left out"),
        (EncoderFacts((SMALL,), ((17, 64),), 1, 1, 0, 1), "24×24 → 17×64, 1 of them for the whole picture"),
        (EncoderFacts((SMALL,) * 2, ((16, 64),) * 2, 0, 2, 2, 1), "2 × 24×24 → 2 × 16×64, from memory"),
        (
            EncoderFacts((SMALL, (8, 8)), ((16, 64), (4, 64)), 0, 2, 1, 1),
            "24×24 + 8×8 → 16×64 + 4×64, 1 of 2 from memory",
        ),
        (BridgeFacts(((17, 64),), ((5, 64),), QUERIES, 1, 0, 1), "17×64 → 5×64, 5 queries that look 4 times"),
        (
            BridgeFacts(((17, 64),), ((5, 64),), QUERIES, 1, 1, 1),
            "17×64 → 5×64, 5 queries that look 4 times, from memory",
        ),
        (PrefillFacts(30, 0, False), "30 tokens"),
        (PrefillFacts(30, 25, False), "30 tokens, 25 of them from memory"),
        (PrefillFacts(30, 0, True), "30 tokens, always all of them: each sees those after it"),
        (DecodeFacts(7, 0), "7 tokens"),
        (DecodeFacts(20, 13), "20 tokens, 13 of them cut off"),
        (TextsFacts(3, 8), "3 × 8 tokens"),
        (CompareFacts((17, 64), 3), "17×64 with 3 texts"),
        (CompareFacts((17, 64), 3, together=True), "17×64 and each of 3 texts together"),
    ],
)
def test_a_stages_numbers_in_words(facts: StageFacts | None, words: str) -> None:
    assert detail(StageEvent("any", 0.1, facts)) == words
