"""The card shows how a model was really trained, not how it might have been."""

from argparse import Namespace
from hashlib import sha256

from vlm_demo.training.cli import COMMANDS, note_command


def test_every_start_and_resumption_is_taken_down(tmp_path):
    start = tmp_path / "start"
    start.mkdir()
    (start / "model.safetensors").write_bytes(b"weights")
    runs = tmp_path / "runs"
    note_command(runs, ["llava", "--minutes", "5"], Namespace(start=None, resume=False))
    note_command(runs, ["llava", "--resume", "--from", str(start)], Namespace(start=start, resume=True))
    first, second = (runs / COMMANDS).read_text().splitlines()
    assert first == "python -m vlm_demo train llava --minutes 5"
    assert second.startswith(f"python -m vlm_demo train llava --resume --from {start}")
    assert second.endswith(sha256(b"weights").hexdigest()[:16])
    note_command(runs, ["llava"], Namespace(start=None, resume=False))
    assert (runs / COMMANDS).read_text() == "python -m vlm_demo train llava\n"
