"""Scenes for choosing a default map: they are written as a folder, and the choice is written beside the weights."""

import json
import shutil
from pathlib import Path

from vlm_demo.evaluation import items
from vlm_demo.explain.heatmap import read_settings
from vlm_demo.training import heatmaps


def test_the_folder_holds_both_sorts_and_no_picture_twice(tmp_path: Path) -> None:
    assert heatmaps.main([str(tmp_path), "--scenes", "4"]) == 0
    pool, broken = items.read(tmp_path)
    kinds = [item.kind for item in pool]
    assert not broken and len(pool) == 8 and kinds.count("pointing") == kinds.count("asked") == 4
    assert len({item.image for item in pool}) == 8 and all((tmp_path / item.image).is_file() for item in pool)
    assert all(item.boxes and item.phrase for item in pool)


def test_a_checkpoints_choice_is_written_and_the_rest_stays(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "llava")
    (folder / "vlm_demo.json").write_text('{"other": 1}')
    told = heatmaps.choose(folder, 7, scenes=3)
    assert read_settings(folder) == told and told.scored == 2
    assert {"weighted", "heads", "relevancy"} <= told.scores.keys() and len(told.weights) == 3
    assert json.loads((folder / "vlm_demo.json").read_text())["other"] == 1
