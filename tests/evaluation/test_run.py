"""A whole run against an engine whose every answer is scripted."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.kit.planted_answer import answer
from vlm_demo.contracts import Answer, MapRequest, OcrResult
from vlm_demo.contracts.engine import Capabilities, Event, Request
from vlm_demo.errors import BadQuestion, OcrUnavailable
from vlm_demo.evaluation import items, run
from vlm_demo.evaluation.cider import cider_d


@dataclass
class Scripted:
    """An engine that answers `reply` to everything and points at `spot`; it records its requests."""

    reply: str = "red"
    spot: tuple[int, int] = (5, 5)
    explains: bool = True
    page: str | None = None  # what OCR reads
    requests: list[Request] = field(default_factory=list)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(True, self.explains, False, False, True)

    def stream(self, request: Request) -> Iterator[Event]:
        if "too long" in request.question:
            raise BadQuestion("The question does not fit.")
        if request.ocr and "unreadable" in request.question:
            raise OcrUnavailable("Tesseract failed on this picture.")
        self.requests.append(request)
        ocr = OcrResult(self.page, (), 0.0) if self.page is not None and request.ocr else None
        yield replace(answer(self.reply), ocr=ocr)

    def explain(self, request: Request, text: str) -> Answer:
        self.requests.append(request)
        return replace(answer(text), drawer=Spot(self.spot))


@dataclass
class Spot:
    """Draws one hot pixel."""

    at: tuple[int, int]

    def heatmap(self, answer: Answer, wanted: MapRequest) -> np.ndarray:
        assert answer.steps(wanted.word)
        heatmap = np.zeros((20, 40), np.float32)
        heatmap[self.at[1], self.at[0]] = 1
        return heatmap


def item(right: str = "red", question: str = "What colour?", image: str = "a.png", **more: Any) -> dict[str, Any]:
    return {"image": image, "question": question, "answer": right, "kind": "colour", "metric": "exact", **more}


def evaluated(folder: Path, lines: list[Any], engine: Scripted, **options: Any) -> dict[str, Any]:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 20), "red").save(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    chosen, skipped = items.read(folder)
    return run.evaluate(engine, folder, chosen, skipped, progress=False, **options).as_dict()


def test_right_answers_are_counted_by_kind(tmp_path: Path) -> None:
    figures = evaluated(tmp_path, [item(), item("blue"), item("red", kind="other")], Scripted())
    assert figures["kinds"]["colour"]["accuracy"] == 0.5 and figures["kinds"]["other"]["accuracy"] == 1
    assert figures["overall"]["n"] == 3 and figures["pointing"]["n"] == 0


def test_an_unreadable_picture_is_named_and_the_run_goes_on(tmp_path: Path) -> None:
    lines = [item(image="broken.png"), item(), "nonsense", item(image="nowhere.png"), item()]
    figures = evaluated(tmp_path, lines, Scripted())
    assert figures["overall"]["n"] == 2
    assert [(one["line"], one["image"]) for one in figures["skipped"]] == [
        (1, "broken.png"),
        (3, None),
        (4, "nowhere.png"),
    ]


def test_a_question_that_the_model_refuses_is_wrong_not_skipped(tmp_path: Path) -> None:
    figures = evaluated(tmp_path, [item(question="too long"), item()], Scripted())
    assert figures["overall"]["n"] == 2 and figures["overall"]["accuracy"] == 0.5
    assert figures["skipped"] == [] and figures["settings"]["refused"] == 1


def test_pointing_items_are_scored_by_their_map_and_not_asked(tmp_path: Path) -> None:
    lines = [item(phrase="red circle", boxes=[[0, 0, 6, 6]]), item(phrase="red circle", boxes=[[6, 0, 9, 9]]), item()]
    figures = evaluated(tmp_path, lines, Scripted(spot=(5, 5)))
    assert figures["pointing"]["n"] == 2 and figures["pointing"]["accuracy"] == 0.5
    assert figures["overall"]["n"] == 1 and "red circle" not in figures["kinds"]


def test_without_heatmaps_pointing_items_are_skipped(tmp_path: Path) -> None:
    lines = [item(phrase="red circle", boxes=[[0, 0, 6, 6]]), item()]
    figures = evaluated(tmp_path, lines, Scripted(explains=False))
    assert figures["pointing"]["n"] == 0 and figures["overall"]["n"] == 1
    assert [one["line"] for one in figures["skipped"]] == [1]


def test_an_item_overrides_the_runs_toggles(tmp_path: Path) -> None:
    engine = Scripted()
    evaluated(tmp_path, [item(), item(ocr=True), item(evidence_only=False)], engine, evidence_only=True)
    toggles = [(request.ocr, request.evidence_only) for request in engine.requests]
    assert toggles == [(False, True), (True, True), (False, False)]


def test_a_picture_is_opened_once_for_the_items_that_follow_each_other(tmp_path: Path) -> None:
    engine = Scripted()
    evaluated(tmp_path, [item(), item(), item(image="b.png")], engine)
    first, second, third = (request.images[0] for request in engine.requests)
    assert first is second and third is not first


def test_every_prediction_is_written_down(tmp_path: Path) -> None:
    out = io.StringIO()
    lines = [item("blue"), item(image="broken.png"), item(phrase="red circle", boxes=[[0, 0, 6, 6]])]
    evaluated(tmp_path, lines, Scripted(), answers=out)
    predicted, skipped, pointed = map(json.loads, out.getvalue().splitlines())
    assert predicted["prediction"] == "red" and predicted["expected"] == ["blue"] and predicted["right"] is False
    assert skipped["skipped"] and "right" not in skipped
    assert pointed["hottest"] == [5, 5] and pointed["right"] is True


def test_a_picture_that_tesseract_fails_on_is_skipped_and_the_run_goes_on(tmp_path: Path) -> None:
    lines = [item(question="unreadable?"), item()]
    report = evaluated(tmp_path, lines, Scripted(), ocr=True)
    assert report["overall"]["n"] == 1 and report["overall"]["accuracy"] == 1
    assert "Tesseract failed" in str(report["skipped"])


def test_earlier_turns_become_the_history_of_the_chat(tmp_path: Path) -> None:
    turns = [
        {"question": "What colour is the star?", "answer": "blue"},
        {"question": "And the cross?", "answer": "red"},
    ]
    engine = Scripted()
    figures = evaluated(tmp_path, [item(question="And the circle?", before=turns), item()], engine)
    assert figures["kinds"]["colour"]["accuracy"] == 1
    follow, alone = engine.requests
    history = follow.history
    assert follow.images == () and alone.images[0] is history[0].images[0] and alone.history == ()
    assert [(turn.question, turn.answer) for turn in history] == [tuple(turn.values()) for turn in turns]
    assert len(history[0].images) == 1 and history[1].images == ()


def test_captions_are_scored_together_and_are_no_right_or_wrong_answers(tmp_path: Path) -> None:
    references = [["red", "a red picture"], ["a blue picture"], ["red"]]
    lines = [item(captions=texts, kind=kind) for texts, kind in zip(references, ("one", "one", "other"), strict=True)]
    out = io.StringIO()
    figures = evaluated(tmp_path, [*lines, item(), item(captions=["x"], question="too long")], Scripted(), answers=out)
    assert figures["kinds"] == {"colour": figures["overall"]} and figures["overall"]["n"] == 1
    found = figures["cider"]
    assert found["overall"]["n"] == 4 and {kind: score["n"] for kind, score in found["kinds"].items()} == {
        "one": 2,
        "other": 1,
        "colour": 1,
    }
    expected = 100 * cider_d(["red", "red"], references[:2])
    assert found["kinds"]["one"]["cider"] == expected.mean() > 0
    assert found["kinds"]["one"]["low"] <= expected.mean() <= found["kinds"]["one"]["high"]
    assert "right" not in json.loads(out.getvalue().splitlines()[0]) and figures["settings"]["refused"] == 1


def test_presence_is_split_by_how_the_absent_thing_was_chosen(tmp_path: Path) -> None:
    def question(answer: str, kind: str) -> dict[str, Any]:
        return item(answer, kind=kind)

    lines = [
        question("yes", "presence-random"),
        question("no", "presence-random"),
        question("no", "presence-adversarial"),
    ]
    figures = evaluated(tmp_path, [*lines, question("yes", "exist")], Scripted("Yes."))["presence"]
    assert list(figures["kinds"]) == ["adversarial", "random"] and figures["overall"]["n"] == 3
    random = figures["kinds"]["random"]
    assert random["accuracy"] == 0.5 and random["yes_ratio"] == 1 and random["true_yes_ratio"] == 0.5
    assert random["f1"] == 2 / 3 and figures["kinds"]["adversarial"]["f1"] == 0


def test_with_ocr_it_is_reported_whether_the_answer_could_be_copied(tmp_path: Path) -> None:
    total = {"kind": "total", "metric": "money", "ocr": True}
    lines = [item("9.00", **total), item("8.20", **total), item("7", **total), item("9.00", kind="total")]
    lines += [item("yes", kind="exist", ocr=True), item("unknown", ocr=True), item("TOTAL", ocr=True)]
    out = io.StringIO()
    figures = evaluated(tmp_path, lines, Scripted("9.00", page="Total 8,20 RM9.00"), answers=out)["in_ocr_text"]
    found = figures["kinds"]["total"]
    assert (found["n"], found["share"], found["of_these"]["n"], found["of_these"]["accuracy"]) == (3, 2 / 3, 2, 0.5)
    assert figures["kinds"]["colour"]["n"] == 1 and figures["overall"]["n"] == 4 and "exist" not in figures["kinds"]
    marks = [json.loads(line).get("in_ocr_text") for line in out.getvalue().splitlines()]
    assert marks == [True, True, False, None, None, None, True]


def test_a_name_is_right_in_any_accepted_wording(tmp_path: Path) -> None:
    lines = [item("bike", accepted=["bicycle"], metric="name"), item("bike", metric="name")]
    assert evaluated(tmp_path, lines, Scripted("Two bicycles."))["overall"]["accuracy"] == 0.5
