"""The effect of the rule is checked against a table worked out by hand, and POPE's own files are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.kit.planted_answer import answer
from tests.kit.tiny import tiny_llava
from vlm_demo.cli.main import main
from vlm_demo.contracts.engine import Capabilities, Event, Request
from vlm_demo.errors import VlmDemoError
from vlm_demo.evaluation import evidence_only, run
from vlm_demo.evaluation.items import Item

POPE = [
    {"question_id": 1, "image": "a.png", "text": "Is there a star in the image?", "label": "yes"},
    {"question_id": 2, "image": "a.png", "text": "Is there a dog in the image?", "label": "no"},
    {"question_id": 3, "image": "a.png", "text": "Is there a cup in the image?", "label": "no"},
    {"question_id": 4, "image": "a.png", "text": "Is there a red thing in the image?", "label": "yes"},
]


class Yes:
    """Answers yes to everything; with the rule, "unknown" of cups and of what is red."""

    capabilities = Capabilities(writes=True, explains=False, scores=False, quantizes=False, logprobs=False)

    def stream(self, request: Request) -> Iterator[Event]:
        doubtful = any(word in request.question for word in ("cup", "red", "hidden"))
        yield answer("Unknown." if request.evidence_only and doubtful else "yes")


@pytest.fixture
def pope(tmp_path: Path) -> Path:
    Image.new("RGB", (60, 60), "red").save(tmp_path / "a.png")
    file = tmp_path / "coco_pope_random.json"
    file.write_text("\n".join(map(json.dumps, POPE)) + "\n")
    return file


def evaluated(folder: Path, items: list[Item]) -> evidence_only.RuleFigures:
    file = folder / "answers.jsonl"
    with file.open("w") as answers:
        report = run.evaluate(Yes(), folder, evidence_only.twice(items), answers=answers, progress=False)
    return evidence_only.figures(file.read_text().splitlines(), report.skipped)


def test_the_figures_are_those_of_the_table(pope: Path) -> None:
    items, skipped = evidence_only.read_pope(pope)
    assert skipped == [] and {item.kind for item in items} == {"pope coco_pope_random"}
    overall = evaluated(pope.parent, items).as_dict()["overall"]
    # Without the rule: two right yeses, two false alarms. With it: one of each; one "unknown" where no is right.
    off, on = overall["off"]["yes_no"], overall["on"]["yes_no"]
    assert (off["accuracy"], off["precision"], off["recall"], off["f1"]) == pytest.approx((0.5, 0.5, 1.0, 2 / 3))
    assert (on["accuracy"], on["precision"], on["recall"], on["f1"]) == pytest.approx((0.5, 0.5, 0.5, 0.5))
    assert (off["yes_ratio"], on["yes_ratio"], on["true_yes_ratio"]) == (1.0, 0.5, 0.5)
    assert overall["off"]["answerable"]["unknown"] == 0.0 and overall["on"]["answerable"]["unknown"] == 0.5


def test_abstention_and_cost_are_counted_on_their_own_questions(pope: Path) -> None:
    items, _ = evidence_only.read_pope(pope)
    hidden = Item(9, "a.png", "What is hidden?", ("unknown",), "absent", "exact")
    found = evaluated(pope.parent, [*items, hidden])
    figures = found.as_dict()
    assert figures["kinds"]["absent"]["on"]["unanswerable"] == {"n": 1, "unknown": 1.0}
    assert figures["kinds"]["absent"]["off"]["unanswerable"] == {"n": 1, "unknown": 0.0}
    assert found.cost == pytest.approx(2 / 4 - 1 / 4)
    table = found.table()
    assert "said of 0.0% without and 100.0% with the rule" in table and "costs 25.0 points" in table
    assert len({line.index("  off") for line in table.splitlines() if "  off " in line}) == 1


def test_a_picture_that_is_not_there_is_skipped_and_named(pope: Path) -> None:
    items, _ = evidence_only.read_pope(pope)
    (pope.parent / "a.png").unlink()
    found = evaluated(pope.parent, items)
    assert found.kinds == {} and len(found.skipped) == 2 * len(POPE) and found.cost is None


def test_lines_that_are_no_questions_are_skipped(pope: Path) -> None:
    broken = ["{", json.dumps({"image": "a.png", "text": "Is it?", "label": "maybe"}), json.dumps([1])]
    broken.append(json.dumps({"image": "../a.png", "text": "Is it?", "label": "no"}))
    pope.write_text("\n".join([*broken, json.dumps(POPE[0])]))
    items, skipped = evidence_only.read_pope(pope)
    assert [item.line for item in items] == [5] and [one.line for one in skipped] == [1, 2, 3, 4]
    pope.write_text("{}\n")
    with pytest.raises(VlmDemoError, match="holds no question of POPE"):
        evidence_only.read_pope(pope)


def test_the_command_reads_popes_own_file(pope: Path, capsys, tmp_path: Path) -> None:
    folder, out = tiny_llava(tmp_path / "model"), tmp_path / "figures.json"
    words = ["evaluate", str(pope.parent), "--hallucination", "--pope", str(pope), "--model", str(folder)]
    assert main([*words, "--json", str(out), "--max-new-tokens", "2"]) == 0
    figures = json.loads(out.read_text())
    assert figures["overall"]["off"]["yes_no"]["n"] == figures["overall"]["on"]["yes_no"]["n"] == len(POPE)
    assert "precision" in capsys.readouterr().out
