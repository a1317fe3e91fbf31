"""The curve of a training run, from its log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from vlm_demo.cli.main import main
from vlm_demo.errors import VlmDemoError
from vlm_demo.training.curve import stages

LINES = [
    {"stage": 0, "text": "alignment epoch 1"},
    {"stage": 2, "step": 20, "loss": {"all": 2.5, "vqa": 3.0}},
    {"held_out": {"vqa": 0.3}},
    {"stage": 2, "step": 40, "loss": {"all": 2.0}},
    {"stage": "captions", "step": 60, "cider": 29.7},
]


def test_each_stage_has_its_steps_and_values(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    assert stages(log) == {
        "2": [(20, {"all": 2.5, "vqa": 3.0}), (40, {"all": 2.0})],
        "captions": [(60, {"CIDEr-D": 29.7})],
    }
    assert main(["train", "curve", str(log), "--plot", str(tmp_path / "curve.png")]) == 0
    with Image.open(tmp_path / "curve.png") as drawn:
        assert drawn.width > drawn.height > 100


@pytest.mark.parametrize(
    ("text", "reason"), [("{not json}", "can't be read"), ("", "no steps"), ('{"held_out": {}}\n', "no steps")]
)
def test_what_is_no_log_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(text)
    with pytest.raises(VlmDemoError, match=reason):
        stages(log)
