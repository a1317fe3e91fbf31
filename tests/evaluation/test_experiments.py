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
from vlm_demo.evaluation.experiments import bigger, confidently_wrong, instead_of_ocr, orders
from vlm_demo.evaluation.items import Item, read
from vlm_demo.images.drawn_words import WORDS
from vlm_demo.images.open import open_image


class Planted(FakeEngine):
    """Answers by the first pixel: red for red, red for blue too, and grey for grey. With the rule it answers "unknown"
    to blue ones."""

    def stream(self, request: Request) -> Iterator[Event]:
        answer = answered(super().stream(request))
        picture, _ = open_image(request.images[0])
        red, _green, blue = picture.convert("RGB").getpixel((0, 0))
        text, probability = ("red", 0.9) if red != blue else ("grey", 0.9)
        if blue > red:
            text, probability = ("unknown", 0.9) if request.evidence_only else ("red", 0.6)
        if request.question == "Habit?":
            text = "habit"
        yield replace(answer, text=text, tokens=(Token(text, 1, probability),), conversation=answer.conversation)

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


def test_how_right_and_wrong_answers_differ(folder: Path, tmp_path: Path) -> None:
    items, _ = read(folder)
    found = confidently_wrong.measure(Planted(), folder, items, progress=False)
    right, wrong = found.group(True), found.group(False)
    assert (right.n, wrong.n, found.skipped) == (2, 2, 1)
    assert right.confidence == pytest.approx(0.9) and right.same_on_blank == 0 and right.unknown_with_rule == 0
    assert wrong.confidence == pytest.approx(0.6)
    assert wrong.same_on_blank == 0.5  # the one whose answer does not depend on the picture
    assert wrong.unknown_with_rule == 0.5
    assert [(round(confidence, 1), share, n) for confidence, share, n in found.curve()] == [
        (0.6, 0.0, 2),
        (0.9, 1.0, 2),
    ]
    assert (
        "was wrong 2 times of 4" in found.sentence()
        and "50% [9–91] stay the same without the picture" in found.sentence()
    )
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
    outcome = confidently_wrong.ConfidentlyWrongOutcome("m", (confidently_wrong.Case(True, 1.0, None, False, False),))
    assert "nothing to explain" in outcome.sentence() and outcome.curve() == [(1.0, 1.0, 1)]


class Reader(FakeEngine):
    """OCR reads every word, the model alone the large ones, and with OCR it repeats all but one word."""

    def stream(self, request: Request) -> Iterator[Event]:
        picture, _ = open_image(request.images[0])
        box = picture.convert("L").point(lambda value: 255 * (value < 128)).getbbox()
        word = next(word for word in WORDS if self.drawn[word, box[3] - box[1]] == picture.tobytes())
        answer = answered(super().stream(request))
        ocr = OcrResult(word, (), 0.0) if request.ocr else None
        without_ocr = word if box[3] - box[1] > 50 else "a word"
        text = without_ocr if not request.ocr or word == "TAXI" else word
        yield replace(answer, text=text, ocr=ocr)


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
    assert "read 50% [28–72] from the pixels alone, OCR alone 100% [81–100], and both together 94%" in found.sentence()
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
    output = capsys.readouterr()
    assert "can't be written" in output.err and not output.out
    assert main(["experiment", "wrong", str(folder), "--plot", str(tmp_path / "plot.nosuch")]) == 2
    output = capsys.readouterr()
    assert "can't be written" in output.err and "was wrong 2 times" in output.out  # the figures are not lost
    with pytest.raises(SystemExit):
        main(["experiment", "wrong"])
    assert "needs a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["experiment", "orders", "--against", "there"])
    assert "--against goes with bigger" in capsys.readouterr().err


# -- bigger -----------------------------------------------------------------------------------------------------------


def variant(folder: Path, name: str, steps: int = 60, **recipe: object) -> str:
    variant_folder = folder / name
    variant_folder.mkdir()
    base = {"family": "llava", "language_model": "a", "vision_tower": "efficientnet-lite2", "image_size": 288}
    (variant_folder / "recipe.json").write_text(json.dumps(base | recipe))
    (variant_folder / "training.json").write_text(json.dumps([{"steps": steps, "samples": 8 * steps}]))
    return str(variant_folder)


class Says(FakeEngine):
    """Answers with one word."""

    def stream(self, request: Request) -> Iterator[Event]:
        yield replace(answered(super().stream(request)), text=self.answer)


def test_variants_are_held_against_the_first(folder: Path, tmp_path: Path) -> None:
    names = [
        variant(tmp_path, "base", language_layers=0),
        variant(tmp_path, "half", language_layers=15),
        variant(tmp_path, "vit", vision_tower="dinov2-vit-s-focus", image_size=168),
        variant(tmp_path, "small", image_size=192),
    ]
    words = {"base": "red", "half": "blue", "vit": "red", "small": "none"}
    items = [replace(item, image="red.png", answers=("red",)) for item in read(folder)[0]]
    items += [replace(items[0], line=20 + i, answers=("blue",)) for i in range(2)]
    found = bigger.measure(names, lambda name: Says(answer=words[Path(name).name]), folder, items, progress=False)
    base, half, vit, small = found.variants
    assert (base.score.right, half.score.right, vit.score.right, small.score.right) == (5, 2, 5, 0)
    assert (base.steps, base.pictures, half.layers, vit.encoder) == (60, 480, 15, "dinov2-vit-s-focus")
    gains = found.gains()
    assert [gain.lack for gain in gains] == ["192 px", "15 layers", "DINOv2 ViT-S"]
    assert gains[0].have == "288 px" and gains[1].have == "all layers of the LLM"
    assert [round(gain.mean, 3) for gain in gains] == [0.714, 0.429, 0.0]
    assert gains[0].clear and not gains[1].clear and not gains[2].clear  # 5 of 7 for, 0 against; 5 for, 2 against
    sentence = found.sentence()
    assert "60 steps" in sentence and "most came of 288 px instead of 192 px (+71 points, +38 to +105)" in sentence
    assert "not clear: all layers of the LLM, EfficientNet-Lite2." in sentence
    found.draw(tmp_path / "plot.png")
    assert Image.open(tmp_path / "plot.png").size[0] > 900
    assert json.loads(json.dumps(found.as_dict()))["variants"][1]["layers"] == 15


def test_where_nothing_is_clear_the_sentence_says_so(folder: Path, tmp_path: Path) -> None:
    names = [variant(tmp_path, "base"), variant(tmp_path, "half", language_layers=15)]
    found = bigger.measure(names, lambda _: Says(answer="red"), folder, read(folder)[0][:2], progress=False)
    assert "no choice made a clear difference" in found.sentence()


def test_variants_that_were_not_trained_alike_are_refused(folder: Path, tmp_path: Path) -> None:
    base = variant(tmp_path, "base")
    longer = variant(tmp_path, "longer", steps=90, language_layers=15)
    for others, message in (
        ([], "nothing to compare"),
        ([longer], "not trained alike .60 and 90 steps."),
        ([variant(tmp_path, "same")], "has the recipe of"),
        ([str(tmp_path)], "holds no recipe.json"),
    ):
        with pytest.raises(VlmDemoError, match=message):
            bigger.measure([base, *others], Says, folder, read(folder)[0])
    (Path(longer) / "training.json").unlink()
    with pytest.raises(VlmDemoError, match="says nowhere how it was trained"):
        bigger.measure([base, longer], Says, folder, read(folder)[0])


# -- orders -----------------------------------------------------------------------------------------------------------


class Servant(FakeEngine):
    """Without OCR it names the colour, and a circle; with OCR it obeys the order."""

    def stream(self, request: Request) -> Iterator[Event]:
        answer = answered(super().stream(request))
        number = len(self.requests) - 1
        order, mark = list(orders.ORDERS.items())[number // 4]
        right = list(orders.CIRCLES)[number // 4 % 4] if request.question == orders.COLOUR else "a circle"
        text = mark.lower() if request.ocr else right
        if mark in ("PWNED", "BANANA") and request.ocr:
            text = order if mark == "PWNED" else "a fruit"
        yield replace(answer, text=text, ocr=OcrResult(order, (), 0.0) if request.ocr else None)


def test_obeyed_quoted_and_other_answers_are_counted_apart(tmp_path: Path) -> None:
    found = orders.measure(Servant())
    n = len(orders.ORDERS)
    assert n >= 40 and len(set(orders.ORDERS.values())) == n
    assert found.counts[orders.OFF] == {"right": 2 * n, "obeyed": 0, "quoted": 0, "another answer": 0}
    assert found.counts[orders.ON] == {"right": 0, "obeyed": 2 * n - 4, "quoted": 2, "another answer": 2}
    assert found.read == n and f"Asked {2 * n} questions about {n} pictures that give orders" in found.sentence()
    found.draw(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").is_file() and str(n) in found.table()


@pytest.mark.parametrize("order", list(orders.ORDERS))
def test_an_orders_mark_obeys_and_the_order_read_out_does_not(order: str) -> None:
    mark = orders.ORDERS[order]
    assert orders.outcome_of(f"{mark.capitalize()}!", order, mark, "red") == orders.OBEYED
    assert orders.outcome_of(f"The text says: {order}", order, mark, "red") == orders.QUOTED
    assert orders.outcome_of("It is red.", order, mark, "red") == orders.RIGHT


def test_items_of_other_kinds_are_left_out(folder: Path) -> None:
    items, _ = read(folder)
    pointing = Item(9, "red.png", "", (), "pointing", "exact", phrase="a thing", boxes=((0, 0, 1, 1),))
    found = confidently_wrong.measure(Planted(), folder, [*items[:1], pointing], progress=False)
    assert len(found.cases) == 1 and found.skipped == 0
