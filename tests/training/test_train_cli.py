"""`train llava`: from folders to an exported model that answers, and a record of how it came about."""

from __future__ import annotations

import itertools
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from safetensors.torch import load_file

from tests.models import composed
from tests.training.tiny_parts import write_folder
from vlm_demo import Pipeline
from vlm_demo import cli as top
from vlm_demo.models import user_cache
from vlm_demo.training import cli, finetune

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The beginning of a command line: photographs and drawn pictures, and tiny installed parts to train."""
    monkeypatch.setattr(user_cache, "folder", lambda: tmp_path / "cache" / "vlm_demo")
    composed.install(tmp_path / "site", monkeypatch)
    clock = itertools.count()
    monkeypatch.setattr(finetune, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    monkeypatch.setattr(finetune, "POOL", 4)
    monkeypatch.setattr(finetune, "compile_layers", lambda parts: None)
    monkeypatch.setitem(cli.RECIPE, "image_size", 64)
    names = ("dog", "cat", "car", "bus", "boat", "tree")
    items = [{"captions": [f"a {names[n % 6]} here now"], "qa": [["What is it?", names[n % 6]]]} for n in range(48)]
    write_folder(tmp_path / "photos" / "flickr8k", items)
    write_folder(tmp_path / "drawn" / "scenes", [{"captions": ["a disc"], "qa": [["Is it red?", "no"]]}] * 20)
    line = ["llava", "--photos", str(tmp_path / "photos"), "--drawn", str(tmp_path / "drawn"), "--threads", "1"]
    line += ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--align-pictures", "40"]
    return [*line, "--align-epochs", "1", "--projector-minutes", "0.05", "--minutes", "0.15", "--seed", "5"]


def history(tmp_path: Path) -> list[dict]:
    return json.loads((tmp_path / "out" / cli.HISTORY).read_text())


def test_a_run_is_exported_recorded_and_answers(
    start: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(start) == 0
    recipe = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert recipe == {**cli.RECIPE, "lora_alpha": 32}
    (entry,) = history(tmp_path)
    (begun,) = entry["started"]
    assert begun["command"].startswith("python -m vlm_demo train llava --photos ") and "--seed 5" in begun["command"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert begun["commit"].removesuffix("-dirty") == (head or "unknown")
    assert entry["samples"] > 0 and entry["steps"] > 2 and 0.15 < entry["minutes"] < 0.5
    assert {"caption", "folder flickr8k"} <= entry["held_out"].keys() == entry["n"].keys()
    turns = json.loads((tmp_path / "drawn" / "chat.jsonl").read_text())["qa"]
    assert ["What is the capital of France?", "The capital of France is Paris."] in turns
    stages = [json.loads(line).get("stage") for line in (tmp_path / "runs/llava/log.jsonl").read_text().splitlines()]
    assert stages[0] == 0

    pipe = Pipeline.from_pretrained(tmp_path / "out")
    answer = pipe.ask(Image.new("RGB", (80, 60), "red"), "What is it?", max_new_tokens=3)
    assert answer.prompt.image_tokens == 4 and len(answer.tokens) <= 3


def test_a_resumed_run_goes_on_and_its_record_grows(start: list[str], tmp_path: Path) -> None:
    cli.main(start)
    (before,) = history(tmp_path)
    first = load_file(tmp_path / "out" / cli.TRAINED)
    cli.main([*start, "--resume"])
    (after,) = history(tmp_path)
    assert after["started"][0] == before["started"][0] and "--resume" in after["started"][1]["command"]
    assert after["steps"] > before["steps"] and after["minutes"] > before["minutes"]
    second = load_file(tmp_path / "out" / cli.TRAINED)
    assert any((second[name] != first[name]).any() for name in first)
    cli.main([*start, "--export-only"])
    assert history(tmp_path) == [after]


def test_a_run_from_earlier_weights_is_added_behind_them(start: list[str], tmp_path: Path) -> None:
    cli.main(start)
    again = [*start, "--init", str(tmp_path / "out" / cli.TRAINED), "--runs", str(tmp_path / "more")]
    cli.main(again)
    one, two = history(tmp_path)
    assert "init_sha256" not in one["started"][0] and len(two["started"][0]["init_sha256"]) == 64
    stages = [json.loads(line).get("stage") for line in (tmp_path / "more/llava/log.jsonl").read_text().splitlines()]
    assert set(stages) <= {2, None}  # weights that are aligned already
    cli.main([*start, "--runs", str(tmp_path / "anew")])
    assert len(history(tmp_path)) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--export-only"], "holds no checkpoint.pt to export"),
        (["--resume"], "holds no checkpoint.pt to go on from"),
        (["--init", "nowhere.safetensors"], "no weights nowhere.safetensors"),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(
    start: list[str], more: list[str], said: str, capsys: pytest.CaptureFixture
) -> None:
    assert top.main(["train", *start, *more]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_without_pictures_nothing_begins(start: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    empty = ["--photos", str(tmp_path / "none"), "--drawn", str(tmp_path / "nothing")]
    line = ["llava", *empty, "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    assert top.main(["train", *line]) == 2
    assert "no annotated pictures" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_folders_of_photographs_add_up(start: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(finetune, "run", lambda parts, data, held, *rest, **more: given.append(sorted(data.folders)))
    monkeypatch.setattr(cli, "write", lambda folder, out: None)
    write_folder(tmp_path / "other" / "voc2007", [{"boxes": [["dog", 0, 0, 0.9, 0.9]]}] * 20)
    cli.main([*start, "--photos", str(tmp_path / "other")])
    assert given == [["flickr8k", "scenes", "voc2007"]]


def test_ocr_reads_the_folder_of_charts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("vlm_demo.options.require_ocr", lambda: None)
    monkeypatch.setattr("vlm_demo.training.photo_ocr.harvest", lambda folder, file: asked.append((folder, file)) or 2)
    assert cli.main(["ocr", "--photos", str(tmp_path), "--drawn", "runs/own"]) == 0
    assert asked == [(tmp_path / "chartqa", Path("runs/own/ocr/chartqa.jsonl"))]


@pytest.mark.parametrize("command", [[], ["llava"], ["ocr"], ["world"]])
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command, "--help"])
    assert stopped.value.code == 0 and "usage: python -m vlm_demo train" in capsys.readouterr().out
