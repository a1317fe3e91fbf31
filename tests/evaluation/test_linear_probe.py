"""The linear probe: finds what features hold, on pictures that it was not fitted on, and prints a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.kit.tiny_parts import tower
from vlm_demo.cli.main import main
from vlm_demo.evaluation import linear_probe
from vlm_demo.evaluation.linear_probe import features, labelled, probe
from vlm_demo.models import pretrained

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


def test_labelled_leaves_out_what_has_no_label_or_too_few_pictures(photos: Path) -> None:
    items = labelled(photos / "caltech101", "object")
    assert len(items) == 48 and {item.label for item in items} == set(COLOURS)
    assert labelled(photos / "caltech101", "object", 5) == items[:5]


def test_features_are_the_mean_token_in_order(photos: Path) -> None:
    items = labelled(photos / "caltech101", "object")[:7]

    def encode(pictures: list[Image.Image]) -> torch.Tensor:
        colours = torch.tensor([picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)) for picture in pictures])
        return torch.stack([colours - 3.0, colours + 3.0], 1)  # [B, 2, 3]

    rows = features(items, encode, batch=3)
    expected = torch.tensor([COLOURS[item.label] for item in items]).float()
    assert rows.shape == (7, 3) and (rows - expected).abs().max() < 8


def test_the_probe_finds_what_is_there_and_no_more() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = [f"class {i % 3}" for i in range(120)]
    noise = torch.randn(120, 10, generator=generator)
    with_signal = noise.clone()
    with_signal[:, 4] += 5 * (torch.arange(120) % 3)
    result, blind = probe(with_signal, labels), probe(noise, labels)
    assert result.accuracy > 0.9 and blind.accuracy < 0.6
    assert (result.held_out, result.labels, result.chance) == (30, 3, pytest.approx(1 / 3))


def test_the_command_prints_a_row_for_each_resolution_and_level(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    seen = set()

    def tiny(name: str, side: int, progress: object) -> torch.nn.Module:
        model = tower()
        model.register_forward_pre_hook(lambda _, args: seen.add((side, *args[0].shape[2:])))
        return model

    monkeypatch.setattr(pretrained, "vision_tower", tiny)
    assert main(["probe", "--photos", str(photos), "--sides", "64", "96"]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert head.count("|") == 10 and [row[:4] for row in cells] == [
        ["caltech101", "3", side, levels] for side in ("64", "96") for levels in ("last", "both")
    ]
    assert seen == {(64, 64, 64), (96, 96, 96)}
    assert all(float(row[4].rstrip("%")) > 60 and row[6] == "12" and float(row[8]) > 0 for row in cells)


def test_pictures_are_padded_to_a_square_with_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "vision_tower", lambda name, side, progress: tower())
    monkeypatch.setattr(linear_probe, "fast_bf16", lambda device: False)
    encode, inputs = linear_probe.ProbedTower(64, lambda fraction, text: None), []
    encode.model.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    encode([Image.new("RGB", (80, 40), "white")])
    assert inputs[0].shape == (1, 3, 64, 64)
    assert inputs[0][0, 0, 32, 32] == 1 and abs(inputs[0][0, 0, 2, 32]) < 0.01


def test_sides_are_multiples_of_32_and_folders_are_named(photos: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["probe", "--photos", str(photos), "--sides", "100"])
    assert "multiple of 32" in capsys.readouterr().err
    assert main(["probe", "--photos", str(photos / "none")]) == 2
    assert "holds no labelled photographs" in capsys.readouterr().err
