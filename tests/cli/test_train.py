"""`train`: from folders to an exported model that runs, and a record of its training."""

from __future__ import annotations

import itertools
import json
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from safetensors.torch import load_file
from typer.main import get_command

from tests.kit import composed
from tests.kit.tiny_parts import write_folder
from vlm_demo import Pipeline
from vlm_demo.cli import train
from vlm_demo.cli.main import main
from vlm_demo.models import embedded, user_cache
from vlm_demo.models.builders import read_recipe
from vlm_demo.training import cross_attention, export, finetune, lora, qformer_training, record, sample_batches
from vlm_demo.training.recipes import RECIPES

ROOT = Path(__file__).parents[2]
ALIGNMENT = ("--align-pictures", "40", "--align-epochs", "1")
STAGES = {
    "llava": (*ALIGNMENT, "--projector-minutes", "0.05"),
    "llava-vit": (*ALIGNMENT, "--projector-minutes", "0.05"),
    "blip2": ("--pictures", "40", "--compare-minutes", "0.05", "--align-epochs", "1"),
    "idefics": ALIGNMENT,
    "clip": ("--pictures", "40", "--epochs", "2"),
}


@pytest.fixture
def common_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that all models have in common: photographs and drawn pictures, and tiny installed parts to train."""
    monkeypatch.setattr(user_cache, "folder", lambda: tmp_path / "cache" / "vlm_demo")
    composed.install(tmp_path / "site", monkeypatch, list(composed.PACKAGES))
    clock = itertools.count()
    for module in (finetune, qformer_training):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    for module in (finetune, qformer_training, cross_attention):
        monkeypatch.setattr(module, "compile_layers", lambda parts: None)
    monkeypatch.setattr(sample_batches, "POOL", 4)
    monkeypatch.setattr(qformer_training, "compose", partial(qformer_training.compose, queries=4))
    monkeypatch.setattr(qformer_training, "QUERIES", 4)
    monkeypatch.setattr(cross_attention, "compose", partial(cross_attention.compose, crossings=1, inner=40))
    for name, recipe in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, replace(recipe, image_size=42 if name == "llava-vit" else 64))
    names = ("dog", "cat", "car", "bus", "boat", "tree")
    items = [{"captions": [f"a {names[n % 6]} here now"], "qa": [["What is it?", names[n % 6]]]} for n in range(48)]
    write_folder(tmp_path / "photos" / "flickr8k", items)
    write_folder(tmp_path / "drawn" / "scenes", [{"captions": ["a disc"], "qa": [["Is it red?", "no"]]}] * 20)
    return ["--photos", str(tmp_path / "photos"), "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]


@pytest.fixture
def start(common_options: list[str], tmp_path: Path) -> list[str]:
    """A command line that trains llava."""
    return line_of("llava", common_options, tmp_path)


def line_of(name: str, common_options: list[str], tmp_path: Path) -> list[str]:
    """A command line that trains an embedded model in few steps."""
    line = [name, *common_options, "--threads", "1", "--seed", "5"]
    if name != "clip":
        line += ["--drawn", str(tmp_path / "drawn"), "--minutes", "0.15"]
    return [*line, *STAGES[name]]


def history(tmp_path: Path) -> list[dict]:
    return json.loads((tmp_path / "out" / record.HISTORY).read_text())


def test_a_run_is_exported_recorded_and_answers(
    start: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["train", *start]) == 0
    assert read_recipe(tmp_path / "out" / "recipe.json") == RECIPES["llava"]
    (entry,) = history(tmp_path)
    (started,) = entry["started"]
    assert started["command"].startswith("python -m vlm_demo train llava --photos ")
    assert "--seed 5" in started["command"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert started["commit"].removesuffix("-dirty") == (head or "unknown")
    assert entry["samples"] > 0 and entry["steps"] > 2 and 0.15 < entry["minutes"] < 0.5
    assert {"caption", "folder flickr8k"} <= entry["held_out"].keys() == entry["n"].keys()
    turns = json.loads((tmp_path / "drawn" / "chat.jsonl").read_text())["qa"]
    assert ["What is the capital of France?", "The capital of France is Paris."] in turns
    stages = [json.loads(line).get("stage") for line in (tmp_path / "runs/llava/log.jsonl").read_text().splitlines()]
    assert stages[0] == 0

    pipe = Pipeline.from_pretrained(tmp_path / "out")
    answer = pipe.ask(Image.new("RGB", (80, 60), "red"), "What is it?", max_new_tokens=3)
    assert answer.prompt.image_tokens == 4 and len(answer.tokens) <= 3


@pytest.mark.parametrize("name", ["llava-vit", "blip2", "idefics", "clip"])
def test_the_other_models_come_out_of_the_same_command(name: str, common_options: list[str], tmp_path: Path) -> None:
    assert main(["train", *line_of(name, common_options, tmp_path)]) == 0
    assert read_recipe(tmp_path / "out" / "recipe.json") == RECIPES[name]
    (entry,) = history(tmp_path)
    assert entry["started"][0]["command"].startswith(f"python -m vlm_demo train {name} --photos ")
    assert entry["samples"] > 0 and entry["steps"] > 0 and entry["held_out"].keys() == entry["n"].keys() != set()
    assert ("retrieval" in entry) == (name == "blip2")
    pipe, picture = Pipeline.from_pretrained(tmp_path / "out"), Image.new("RGB", (80, 60), "red")
    if name in ("clip", "blip2"):
        assert len(pipe.score(picture, ["a dog", "a cat"]).similarities) == 2
    if name != "clip":
        assert pipe.ask(picture, "What is it?", max_new_tokens=3).tokens


def test_a_recipe_is_varied_for_so_many_steps(start: list[str], tmp_path: Path) -> None:
    main(["train", *start, "--projector-minutes", "0", "--steps", "3", "--layers", "1", "--image-size", "96"])
    assert read_recipe(tmp_path / "out" / "recipe.json") == replace(RECIPES["llava"], language_layers=1, image_size=96)
    assert history(tmp_path)[0]["steps"] == 3
    pipe = Pipeline.from_pretrained(tmp_path / "out")
    assert pipe.model.config.text_config.num_hidden_layers == 1
    answer = pipe.ask(Image.new("RGB", (80, 60), "red"), "What is it?", max_new_tokens=3)
    assert answer.prompt.image_tokens == 9 and len(answer.tokens) <= 3


def test_recipes_have_the_scale_that_lora_is_trained_with() -> None:
    assert {recipe.lora_alpha for name, recipe in RECIPES.items() if "llava" in name} == {lora.ALPHA}


def test_pictures_are_padded_with_the_towers_own_mean(
    common_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr(finetune, "run", lambda parts, data, held, *rest, **more: given.extend([data.fill, held.fill]))
    monkeypatch.setattr(export, "export_run", lambda *_: None)
    monkeypatch.setattr(train, "_record_history", lambda *_: 0)
    main(["train", *line_of("llava-vit", common_options, tmp_path)])
    assert given == [(123, 116, 103)] * 2


def test_a_resumed_run_goes_on_and_its_record_grows(start: list[str], tmp_path: Path) -> None:
    main(["train", *start])
    (before,) = history(tmp_path)
    first = load_file(tmp_path / "out" / embedded.TRAINED)
    main(["train", *start, "--resume"])
    (after,) = history(tmp_path)
    assert after["started"][0] == before["started"][0] and "--resume" in after["started"][1]["command"]
    assert after["steps"] > before["steps"] and after["minutes"] > before["minutes"]
    second = load_file(tmp_path / "out" / embedded.TRAINED)
    assert any((second[name] != first[name]).any() for name in first)
    main(["train", *start, "--export-only"])
    assert history(tmp_path) == [after]


def test_a_run_from_earlier_weights_is_added_behind_them(start: list[str], tmp_path: Path) -> None:
    main(["train", *start])
    again = [*start, "--init", str(tmp_path / "out" / embedded.TRAINED), "--runs", str(tmp_path / "more")]
    main(["train", *again])
    one, two = history(tmp_path)
    assert "init_sha256" not in one["started"][0] and len(two["started"][0]["init_sha256"]) == 64
    stages = [json.loads(line).get("stage") for line in (tmp_path / "more/llava/log.jsonl").read_text().splitlines()]
    assert set(stages) <= {2, None}  # weights that are aligned already
    main(["train", *start, "--runs", str(tmp_path / "anew")])
    assert len(history(tmp_path)) == 1


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--export-only"], "holds no checkpoint.pt to export"),
        (["--resume"], "holds no checkpoint.pt to go on from"),
        (["--init", "nowhere.safetensors"], "no weights nowhere.safetensors"),
        (["--image-size", "100"], "hold no whole image tokens: give a multiple of 32"),
        (["--layers", "9"], "has 2 layers: keep 1 to 2"),
    ],
)
def test_what_is_missing_is_named_in_a_sentence(
    start: list[str], more: list[str], sentence: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["train", *start, *more]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


def test_without_pictures_nothing_begins(start: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    empty = ["--photos", str(tmp_path / "none"), "--drawn", str(tmp_path / "nothing")]
    line = ["llava", *empty, "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    assert main(["train", *line]) == 2
    assert "no annotated pictures" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_without_photographs_clip_does_not_begin(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "clip", "--photos", str(tmp_path), "--runs", str(tmp_path / "runs")]) == 2
    assert "no photographs with words" in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_folders_of_photographs_add_up(start: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(finetune, "run", lambda parts, data, held, *rest, **more: given.append(sorted(data.folders)))
    monkeypatch.setattr(export, "export_run", lambda *_: None)
    monkeypatch.setattr(train, "_record_history", lambda *_: 0)
    write_folder(tmp_path / "other" / "voc2007", [{"boxes": [["dog", 0, 0, 0.9, 0.9]]}] * 20)
    main(["train", *start, "--photos", str(tmp_path / "other")])
    assert given == [["flickr8k", "scenes", "voc2007"]]


def test_ocr_reads_the_folder_of_charts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("vlm_demo.cli.options.require_ocr", lambda: None)
    monkeypatch.setattr("vlm_demo.training.photo_ocr.harvest", lambda folder, file: asked.append((folder, file)) or 2)
    assert main(["train", "ocr", "--photos", str(tmp_path), "--drawn", "runs/own"]) == 0
    assert asked == [(tmp_path / "chartqa", Path("runs/own/ocr/chartqa.jsonl"))]


@pytest.mark.parametrize("command", [[], *([name] for name in get_command(train.app).commands)])
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", *command, "--help"])
    assert stopped.value.code == 0 and "Usage: python -m vlm_demo train" in capsys.readouterr().out
