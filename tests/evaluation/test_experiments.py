"""The experiments: what is measured of an engine whose answers are known, the sentence, and the plot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from vlm_demo.cli import options
from vlm_demo.cli.main import main
from vlm_demo.contracts import OcrResult, Token
from vlm_demo.contracts.engine import Event, Request, answered
from vlm_demo.errors import VlmDemoError
from vlm_demo.evaluation.experiments import confidently_wrong, instead_of_ocr
from vlm_demo.evaluation.items import Item, read
from vlm_demo.evaluation.legibility import WORDS
from vlm_demo.images.open import open_image


class Planted(FakeEngine):
    """Looks at the first pixel: red things it names, blue ones it takes for red, grey ones have a name of their own. By
    the rule it takes back what it said of blue ones."""

    def stream(self, request: Request) -> Iterator[Event]:
        answer = answered(super().stream(request))
        picture, _ = open_image(request.images[0])
        red, _green, blue = picture.convert("RGB").getpixel((0, 0))
        text, probability = ("red", 0.9) if red != blue else ("grey", 0.9)
        if blue > red:
            text, probability = ("unknown", 0.9) if request.evidence_only else ("red", 0.6)
        if request.question == "Habit?":
            text = "habit"
        yield replace(answer, text=text, tokens=(Token(text, 1, probability),), asked=answer.asked)

    def explain(self, request: Request, text: str):
        return replace(answered(self.stream(request)), text=text, tokens=(Token(text, 1, 0.2),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = []
    for colour, question, answer in (
        ("red", "Which?", "red"),
        ("red", "Which?", "red"),
        ("blue", "Which?", "blue"),
        ("blue", "Habit?", "blue"),
        ("gone", "Which?", "red"),
    ):
        if colour != "gone":
            Image.new("RGB", (20, 20), colour).save(tmp_path / f"{colour}.png")
        line = {"image": f"{colour}.png", "question": question, "answer": answer, "kind": "k", "metric": "exact"}
        lines.append(json.dumps(line))
    (tmp_path / "items.jsonl").write_text("\n".join(lines))
    return tmp_path


def test_what_tells_right_from_wrong_answers(folder: Path, tmp_path: Path) -> None:
    items, _ = read(folder)
    found = confidently_wrong.measure(Planted(), folder, items, progress=False)
    right, wrong = found.group(True), found.group(False)
    assert (right.n, wrong.n, found.skipped) == (2, 2, 1)
    assert right.confidence == pytest.approx(0.9) and right.same_on_blank == 0 and right.unknown_with_rule == 0
    assert wrong.confidence == pytest.approx(0.6)
    assert wrong.same_on_blank == 0.5  # the one that is said whatever is shown
    assert wrong.unknown_with_rule == 0.5
    assert [(round(told, 1), share, n) for told, share, n in found.curve()] == [(0.6, 0.0, 2), (0.9, 1.0, 2)]
    assert "was wrong 2 times of 4" in found.sentence() and "50% stay the same without the picture" in found.sentence()
    found.draw(tmp_path / "plot.png")
    assert Image.open(tmp_path / "plot.png").size[0] > 1000


def test_without_questions_or_probabilities_there_is_one_sentence(folder: Path) -> None:
    items, _ = read(folder)
    with pytest.raises(VlmDemoError, match="None of the items"):
        confidently_wrong.measure(Planted(), folder, [replace(items[0], answers=("unknown",))])
    blind = Planted()
    blind.capabilities = replace(blind.capabilities, logprobs=False)
    with pytest.raises(VlmDemoError, match="tells no probabilities"):
        confidently_wrong.measure(blind, folder, items)


def test_a_model_without_mistakes_has_nothing_to_explain() -> None:
    told = confidently_wrong.Outcome("m", (confidently_wrong.Case(True, 1.0, None, False, False),))
    assert "nothing to explain" in told.sentence() and told.curve() == [(1.0, 1.0, 1)]


class Reader(FakeEngine):
    """OCR reads every word, the model by itself the large ones, and what OCR read it writes but for one word."""

    def stream(self, request: Request) -> Iterator[Event]:
        picture, _ = open_image(request.images[0])
        box = picture.convert("L").point(lambda value: 255 * (value < 128)).getbbox()
        word = next(word for word in WORDS if self.drawn[word, box[3] - box[1]] == picture.tobytes())
        answer = answered(super().stream(request))
        read = OcrResult(word, (), 0.0) if request.ocr else None
        by_itself = word if box[3] - box[1] > 50 else "a word"
        text = by_itself if not request.ocr or word == "TAXI" else word
        yield replace(answer, text=text, ocr=read)


def test_what_is_read_from_pixels_by_ocr_and_by_both(tmp_path: Path) -> None:
    engine = Reader()
    engine.drawn = {}
    for word in WORDS:
        for height in (20, 80):
            picture = instead_of_ocr.drawn(word, height, instead_of_ocr.SIZE)
            box = picture.convert("L").point(lambda value: 255 * (value < 128)).getbbox()
            engine.drawn |= {(word, box[3] - box[1]): picture.tobytes()}
            engine.drawn |= {
                (other, box[3] - box[1]): b"" for other in WORDS if (other, box[3] - box[1]) not in engine.drawn
            }
    found = instead_of_ocr.measure(engine, (20, 80))
    assert found.shares[instead_of_ocr.PIXELS] == {20: 0.0, 80: 1.0}
    assert found.shares[instead_of_ocr.OCR] == {20: 1.0, 80: 1.0}
    assert found.shares[instead_of_ocr.BOTH] == {20: 7 / 8, 80: 1.0}
    assert "read 50% from the pixels alone, OCR alone 100%, and both together 94%" in found.sentence()
    assert "can't replace OCR" in found.sentence()
    found.draw(tmp_path / "plot.svg")
    assert "<svg" in (tmp_path / "plot.svg").read_text()


def test_the_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(options, "load", lambda _: Planted())
    plot = tmp_path / "plot.png"
    assert main(["experiment", "wrong", str(folder), "--plot", str(plot), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["wrong"]["n"] == 2 and plot.exists()
    assert main(["experiment", "wrong", str(folder), "--plot", str(tmp_path / "nowhere" / "plot.png")]) == 2
    told = capsys.readouterr()
    assert "can't be written" in told.err and not told.out
    assert main(["experiment", "wrong", str(folder), "--plot", str(tmp_path / "plot.nosuch")]) == 2
    told = capsys.readouterr()
    assert "can't be written" in told.err and "was wrong 2 times" in told.out  # the figures are not lost
    with pytest.raises(SystemExit):
        main(["experiment", "wrong"])
    assert "needs a folder" in capsys.readouterr().err


def test_items_of_other_kinds_are_left_out(folder: Path) -> None:
    items, _ = read(folder)
    pointing = Item(9, "red.png", "", (), "pointing", "exact", phrase="a thing", boxes=((0, 0, 1, 1),))
    found = confidently_wrong.measure(Planted(), folder, [*items[:1], pointing], progress=False)
    assert len(found.cases) == 1 and found.skipped == 0
