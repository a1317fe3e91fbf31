"""Each question is asked without and with the rule, and the two sorts of questions are counted apart."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.kit.planted_answer import answer
from vlm_demo.contracts.engine import Capabilities, Event, Request
from vlm_demo.evaluation import abstention, run
from vlm_demo.evaluation.items import Item


class Careful:
    """Answers with the colour; with the rule "unknown" where the question is not marked as sure."""

    capabilities = Capabilities(writes=True, explains=False, scores=False, quantizes=False, logprobs=False)

    def stream(self, request: Request) -> Iterator[Event]:
        sure = "sure" in request.question
        yield answer("red" if sure or not request.evidence_only else "unknown")


def test_the_rule_is_scored_on_both_sorts_of_questions(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    items = [
        Item(1, "a.png", "sure: what colour?", ("red",), "colour", "exact", evidence_only=True),
        Item(2, "a.png", "what colour?", ("red",), "colour", "exact"),
        Item(3, "a.png", "what colour is the missing one?", ("unknown",), "absent", "exact", evidence_only=False),
        Item(4, "a.png", "What is in the image?", ("star",), "pointing", "exact", phrase="star"),
    ]
    report = run.evaluate(Careful(), tmp_path, abstention.twice(items), progress=False)
    figures = {kind: (score.right, score.n) for kind, score in report.kinds.items()}
    assert figures == {
        "answerable, rule off": (2, 2),
        "answerable, rule on": (1, 2),
        "unanswerable, rule off": (0, 1),
        "unanswerable, rule on": (1, 1),
    }
    assert abstention.lost(report) == pytest.approx(0.5)
    assert abstention.lost(run.evaluate(Careful(), tmp_path, [], progress=False)) is None
