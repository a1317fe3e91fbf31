"""The two commands that draw: which areas and kinds they take, and what they write."""

import json
from pathlib import Path
from typing import Any

import pytest

from vlm_demo.cli.main import main
from vlm_demo.training import drawn
from vlm_demo.training.worlds.held_out import AREAS


def test_draw_writes_items_and_says_how_many(tmp_path: Path, capsys: Any) -> None:
    assert main(["draw", str(tmp_path), "pointing", "--per-kind", "2", "--seed", "3"]) == 0
    lines = (tmp_path / "items.jsonl").read_text().splitlines()
    assert capsys.readouterr().out == f"{len(lines)} items of 1 kinds in {tmp_path}\n" and len(lines) == 2


def test_an_unknown_area_ends_the_program_and_names_the_others(tmp_path: Path, capsys: Any) -> None:
    for wrong in (["moon"], ["scenes", "--photos", str(tmp_path)]):
        with pytest.raises(SystemExit) as stopped:
            main(["draw", str(tmp_path / "out"), *wrong])
        assert stopped.value.code == 2 and not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        main(["draw", "--help"])
    help_text = capsys.readouterr().out
    assert all(area in help_text for area in (*AREAS, "captions", "world", "photos-held-out"))


def test_train_shards_draws_the_chosen_kinds(tmp_path: Path) -> None:
    assert main(["train-shards", str(tmp_path), "--kinds", "plain", "scenes", "--per-kind", "1", "--seed", "2"]) == 0
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["plain", "scenes"]
    (line,) = (tmp_path / "plain" / drawn.ANNOTATIONS).read_text().splitlines()
    _, expected = drawn.drawn("plain", 2, 0)
    assert json.loads(line) == json.loads(json.dumps(expected)) | {"image": json.loads(line)["image"]}
    for wrong in (["--kinds", "plain", "moons"], ["--per-kind", "0"], ["--rounds", "0"]):
        with pytest.raises(SystemExit) as stopped:
            main(["train-shards", str(tmp_path), *wrong])
        assert stopped.value.code == 2
