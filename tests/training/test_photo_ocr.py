"""Photo OCR: each chart is read once, and the mixture finds what was read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.kit.tiny_parts import write_folder
from vlm_demo.contracts import OcrResult
from vlm_demo.errors import VlmDemoError
from vlm_demo.stages import ocr
from vlm_demo.training.mixture import Folder
from vlm_demo.training.photo_ocr import harvest


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Sizes of the pictures that OCR was given; it reads their number and an empty line."""
    seen: list[tuple[int, int]] = []

    def read(image: Image.Image) -> OcrResult:
        assert image.mode == "RGB"
        seen.append(image.size)
        return OcrResult(f"chart {len(seen)}\n\n  50 % \u2028", (), 0.1)

    monkeypatch.setattr(ocr, "read", read)
    return seen


def test_a_harvest_goes_on_where_it_stopped_and_the_mixture_reads_it(tmp_path: Path, reads: list) -> None:
    items = [{"qa": [["How much?", "5"], ["How many?", "6"]]} for _ in range(3)]
    folder, file = write_folder(tmp_path / "chartqa", items), tmp_path / "drawn" / "ocr" / "chartqa.jsonl"
    assert harvest(folder, file) == 3 and harvest(folder, file) == 0
    complete = file.read_text()
    file.write_text(complete[: complete.rfind("{") + 20])  # broken off in the third
    assert harvest(folder, file) == 1
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["image"] for line in lines] == [f"img/{n:05}.png" for n in range(3)]
    assert [line["ocr"] for line in lines] == [["chart 1", "50 %"], ["chart 2", "50 %"], ["chart 4", "50 %"]]
    assert reads == [(90, 60)] * 4
    both = [*Folder(folder, False, file).items, *Folder(folder, True, file).items]
    assert {tuple(item["ocr"]) for item in both} == {("chart 1", "50 %"), ("chart 2", "50 %"), ("chart 4", "50 %")}


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, reads: list) -> None:
    with pytest.raises(VlmDemoError, match="chartqa holds no annotations.jsonl"):
        harvest(tmp_path / "chartqa", tmp_path / "chartqa.jsonl")
    assert not reads
