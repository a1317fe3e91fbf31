"""The card shows how a model was really trained, not how it might have been."""

from argparse import Namespace
from hashlib import sha256

import pytest
import torch
from safetensors.torch import save_file

from vlm_demo.training import card
from vlm_demo.training.cli import COMMANDS, note_command


def test_every_start_and_resumption_is_taken_down(tmp_path):
    start = tmp_path / "start"
    start.mkdir()
    (start / "model.safetensors").write_bytes(b"weights")
    runs = tmp_path / "runs"
    note_command(runs, ["llava", "--minutes", "5"], Namespace(start=None, resume=False, again=False))
    note_command(runs, ["llava", "--resume", "--from", str(start)], Namespace(start=start, resume=True, again=False))
    first, second = (runs / COMMANDS).read_text().splitlines()
    assert first == "python -m vlm_demo train llava --minutes 5"
    assert second.startswith(f"python -m vlm_demo train llava --resume --from {start}")
    assert second.endswith(sha256(b"weights").hexdigest()[:16])
    note_command(runs, ["llava"], Namespace(start=None, resume=False, again=False))
    assert (runs / COMMANDS).read_text() == "python -m vlm_demo train llava\n"


@pytest.mark.parametrize("family", list(card.FAMILIES))
def test_the_card_counts_the_parts_and_shows_the_stages(tmp_path, family):
    weights = {
        "vision_model.a": torch.zeros(500, 300),
        "qformer.b": torch.zeros(70, 1000),
        "other": torch.zeros(90_000),
    }
    save_file(weights, tmp_path / "model.safetensors")
    stages = {"one": {"steps": 1200, "examples": 34_000, "seconds": 90, "total": 0.5, "trainable": 70_000}}
    card.write(family, tmp_path, stages, {}, "python -m vlm_demo train it\n")
    text = (tmp_path / "README.md").read_text()
    assert text.startswith(f"# {family} (embedded)") and "0.3 M parameters" in text
    rest = card.FAMILIES[family]["rest"]
    assert "| vision encoder | 0.15 M |" in text
    assert f"| {rest} | {'0.16' if rest == 'Q-Former' else '0.09'} M |" in text
    assert "| one | 1,200 | 34,000 | 2 | 0.07 M | 0.500 |" in text
    assert max(map(len, text.splitlines())) <= 140
