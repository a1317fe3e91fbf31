"""Mixture: samples depend on their number, held-out pictures are excluded, and pixels are the image processor's."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from tests.kit.tiny_parts import SIDE, TOKENS, write_folder
from vlm_demo.models.smollm2 import LanguageModel
from vlm_demo.training import mixture
from vlm_demo.training.branches import BranchPacker
from vlm_demo.training.mixture import Folder, Mixture, Sample, drawn_turns, load_pixels, square_boxes
from vlm_demo.training.photos_split import held_out

PICTURES = 60


@pytest.fixture
def packer(language: LanguageModel) -> BranchPacker:
    return BranchPacker(language.tokenizer, TOKENS)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Photographs, each with a question about its number; drawn pictures; charts, of which OCR read two."""
    write_folder(
        tmp_path / "coco_train", [{"qa": [[f"Which photograph is {n}?", f"number{n}"]]} for n in range(PICTURES)]
    )
    write_folder(tmp_path / "scenes", [{"qa": [[f"Which drawing is {n}?", f"drawing{n}"]]} for n in range(30)])
    write_folder(tmp_path / "chartqa", [{"qa": [["How much?", f"{n}"]]} for n in range(20)])
    return tmp_path


def text_of(sample: Sample, packer: BranchPacker) -> str:
    return packer.tokenizer.decode(sample.packed.ids)


def test_what_is_held_out_of_drawn_pictures_stays_so_while_more_are_drawn(tmp_path: Path) -> None:
    held: list[set[str]] = []
    for count in (40, 60, 1100):
        write_folder(tmp_path / "scenes", [{"captions": ["a disc"], "qa": [["Is it red?", "no"]]}] * count)
        held.append({item["image"] for item in Folder(tmp_path / "scenes", held=True).items})
        assert len(Folder(tmp_path / "scenes").items) == count - len(held[-1])
    assert len(held[0]) == 4 and held[0] < held[1] < held[2] and len(held[2]) == 100


def test_held_out_and_training_pictures_are_disjoint(root: Path, packer: BranchPacker) -> None:
    held_numbers = {n for n in range(PICTURES) if held_out("coco_train", f"img/{n:05}.png")}
    assert held_numbers
    for held in (False, True):
        data = Mixture([root], packer, SIDE, held=held)
        texts = " ".join(text_of(data.sample(0, n), packer) for n in range(700))
        photographs = {n for n in range(PICTURES) if f"number{n}<" in texts}
        drawings = {n for n in range(30) if f"drawing{n}<" in texts}
        assert photographs == (held_numbers if held else set(range(PICTURES)) - held_numbers)
        assert drawings == ({0, 10, 20} if held else set(range(30)) - {0, 10, 20})


def test_a_sample_depends_on_seed_and_number_alone(root: Path, packer: BranchPacker) -> None:
    one, two = Mixture([root], packer, SIDE), Mixture([root], packer, SIDE)
    later = [two.sample(3, n) for n in (9, 5)]
    for sample, n in zip(later, (9, 5), strict=True):
        again = one.sample(3, n)
        assert np.array_equal(again.pixels, sample.pixels) and np.array_equal(again.packed.ids, sample.packed.ids)
    assert len({one.sample(seed, n).pixels.tobytes() for seed in (3, 4) for n in range(8)}) > 8


def test_shares_are_renormalized_over_the_existing_folders(root: Path, packer: BranchPacker) -> None:
    shares = {"coco_train": 3.0, "scenes": 1.0, "voc2007": 96.0}
    data = Mixture([root], packer, SIDE, shares=shares)
    drawn = Counter(data.sample(0, n).folder for n in range(400))
    assert set(drawn) == {"coco_train", "scenes"} and 0.7 < drawn["coco_train"] / 400 < 0.8


def test_shares_can_be_changed(root: Path, packer: BranchPacker) -> None:
    data = Mixture([root], packer, SIDE)
    data.share_out({"scenes": 3.0, "stanford40": 5.0})
    assert {data.sample(0, n).folder for n in range(50)} == {"scenes"}
    data.share_out({"scenes": 3.0, "coco_train": 1.0})
    assert data.share[data.names.index("coco_train")] == pytest.approx(0.25)


def test_an_incomplete_last_line_is_skipped(root: Path, packer: BranchPacker) -> None:
    file = root / "scenes" / "annotations.jsonl"
    complete = Mixture([root], packer, SIDE).folders["scenes"].items
    with file.open("a") as handle:
        handle.write('{"image": "img/00030.png", "qa": [["What')
    assert Mixture([root], packer, SIDE).folders["scenes"].items == complete


def test_charts_come_only_with_ocr_text(root: Path, packer: BranchPacker) -> None:
    assert "chartqa" not in Mixture([root], packer, SIDE).names
    trained = [n for n in range(20) if not held_out("chartqa", f"img/{n:05}.png")][:2]
    (root / "drawn" / "ocr").mkdir(parents=True)
    lines = [json.dumps({"image": f"img/{n:05}.png", "ocr": [f"Sales of {n}", "and costs"]}) for n in trained]
    (root / "drawn" / "ocr" / "chartqa.jsonl").write_text("\n".join(lines) + "\n")
    data = Mixture([root, root / "drawn"], packer, SIDE, shares={"chartqa": 1.0})
    texts = {text_of(data.sample(0, n), packer) for n in range(30)}
    assert all("Sales of" in text and "and costs\n\nHow much?" in text for text in texts)
    assert all(any(f"Sales of {n}" in text for text in texts) for n in trained)


def test_photographs_that_are_described_elsewhere_are_asked_about_alone(tmp_path: Path, packer: BranchPacker) -> None:
    captions = ["A dog runs on the grass today."]
    asked, only_described = {"captions": captions, "qa": [["What runs?", "dog"]]}, {"captions": captions}
    for name, item in {"coco_train": asked, "coco_captions": only_described, "scenes": asked}.items():
        write_folder(tmp_path / name, [item] * 40)
    data = Mixture([tmp_path], packer, SIDE)
    for describes in (True, False):
        data.describes_photos = describes
        samples = [data.sample(0, n) for n in range(300)]
        described = {name: [] for name in data.names}
        for sample in samples:
            described[sample.folder].append("caption" in sample.packed.kinds)
        assert all(described["coco_captions"]) and all(described["scenes"])
        assert set(described["coco_train"]) == {describes}


def test_turns_about_no_picture_are_in_some_training_samples_and_never_held_out(
    root: Path, packer: BranchPacker
) -> None:
    (root / "chat.jsonl").write_text(json.dumps({"qa": [["Hello!", "Hello to you!"]]}) + "\n")
    for held in (False, True):
        data = Mixture([root], packer, SIDE, held=held)
        share = np.mean(["Hello to you!" in text_of(data.sample(0, n), packer) for n in range(300)])
        assert share == 0 if held else abs(share - mixture.CHAT) < 0.06


def test_only_photographs_are_flipped_and_only_where_all_stays_true(
    root: Path, packer: BranchPacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = {"qa": [["What is on the left?", "a dog"]]}
    write_folder(root / "stanford40", [sides] * 40)
    flips: dict[str, set[bool]] = {}

    def record_flip(path: Path, side: int, flip: bool, *_: object) -> np.ndarray:
        flips.setdefault(path.parent.parent.name, set()).add(flip)
        return np.zeros((side, side, 3), np.uint8)

    monkeypatch.setattr(mixture, "load_pixels", record_flip)
    data = Mixture([root], packer, SIDE)
    for n in range(200):
        data.sample(0, n)
    assert flips == {"coco_train": {True, False}, "scenes": {False}, "stanford40": {False}}


@pytest.mark.parametrize("size", [(180, 120), (96, 160), (64, 64), (128, 64), (300, 20)])
def test_pixels_are_those_of_the_image_processor(size: tuple[int, int], tmp_path: Path) -> None:
    x, y = np.meshgrid(np.arange(size[0]) / size[0], np.arange(size[1]) / size[1])
    picture = np.stack([255 * x, 255 * y, 127 * (1 + np.sin(6 * x + 4 * y))], -1).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    square = {"height": SIDE, "width": SIDE}
    processor = LlavaImageProcessorPil(
        do_pad=True, size=square, do_center_crop=False, resample=2, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    expected = processor(Image.fromarray(picture), return_tensors="pt").pixel_values
    pixels = load_pixels(tmp_path / "a.png", SIDE, False, 1.0, np.random.default_rng(0))
    found = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    if all(edge % SIDE == 0 for edge in size):
        assert (found - expected).abs().median() < 1 / 127
    # The processor pads before it resizes, so a picture's edge may fall between two pixels there. But for that edge,
    # nothing is more than a pixel away.
    near = [torch.nn.functional.max_pool2d(sign * expected, 3, 1, 1) for sign in (1, -1)]
    away = (found > near[0] + 3 / 127) | (-found > near[1] + 3 / 127)
    assert away.float().mean() < 0.04
    assert (found - expected).abs().mean() < 5 / 127


def test_flipped_and_cropped_pixels_are_of_the_picture(tmp_path: Path) -> None:
    left, right = np.full((40, 40, 3), 200, np.uint8), np.full((40, 40, 3), 30, np.uint8)
    Image.fromarray(np.concatenate([left, right], 1)).save(tmp_path / "a.png")
    rng = np.random.default_rng(0)
    pixels = load_pixels(tmp_path / "a.png", SIDE, True, 1.0, rng)
    assert pixels[32, 5, 0] == 30 and pixels[32, 58, 0] == 200 and pixels[2, 30].tolist() == [127] * 3
    assert load_pixels(tmp_path / "a.png", SIDE, True, 1.0, rng, (123, 116, 103))[2, 30].tolist() == [123, 116, 103]
    cropped = load_pixels(tmp_path / "a.png", SIDE, False, 0.9, rng)
    assert cropped[32, 5, 0] == 200 and cropped[32, 58, 0] == 30


def test_turns_of_drawn_pictures_have_kinds_and_rules() -> None:
    item = {
        "captions": ["two circles"],
        "qa": [["How many circles?", "two"], ["Is there a star?", "no"]],
        "unanswerable": [["What color is the dog?", "brown"]],
        "follow": [[["Which is red?", "the circle"], ["And how many stars?", "three"]]],
    }
    caption, count, star, unknown, follow = drawn_turns(item)
    assert (caption.kind, caption.answer) == ("caption", "Two circles.")
    assert (count.answer, star.kind) == ("2", "drawn-no")
    assert (unknown.answer, unknown.rule) == ("unknown", True)
    assert follow.answer == "the circle" and follow.follow == (("And how many stars?", "3"),)


def test_boxes_move_with_the_picture_into_the_square(tmp_path: Path) -> None:
    Image.new("RGB", (100, 50)).save(tmp_path / "wide.png")
    boxes = [["dog", 0.25, 0.5, 0.25, 0.5]]
    assert square_boxes(tmp_path / "wide.png", boxes, False) == [("dog", 0.25, 0.5, 0.5, 0.75)]
    assert square_boxes(tmp_path / "wide.png", boxes, True) == [("dog", 0.5, 0.5, 0.75, 0.75)]
    assert square_boxes(tmp_path / "wide.png", [], True) == []
