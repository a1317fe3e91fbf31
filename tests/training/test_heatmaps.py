"""Scenes for choosing a default map are written as a folder that `evaluate` reads."""

from pathlib import Path

from vlm_demo.cli.main import main
from vlm_demo.evaluation import items


def test_the_folder_holds_both_sorts_and_no_picture_twice(tmp_path: Path) -> None:
    assert main(["train", "heatmaps", str(tmp_path), "--scenes", "4"]) == 0
    pool, broken = items.read(tmp_path)
    kinds = [item.kind for item in pool]
    assert not broken and len(pool) == 8 and kinds.count("pointing") == kinds.count("asked") == 4
    assert len({item.image for item in pool}) == 8 and all((tmp_path / item.image).is_file() for item in pool)
    assert all(item.boxes and item.phrase for item in pool)
