"""Record: how a run was started and what came of it → ``training.json`` next to the weights that ship.

A run has a folder: ``checkpoint.pt``, ``log.jsonl``, and ``started.jsonl``, the commands that it was started with.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vlm_demo.training import json_lines

CHECKPOINT, LOG, STARTED = "checkpoint.pt", "log.jsonl", "started.jsonl"  # in a run's folder
HISTORY = "training.json"  # next to the exported weights


@dataclass(frozen=True)
class Spent:
    """What a run took: pictures seen, steps of the optimizer, minutes of training."""

    samples: int
    steps: int
    minutes: float


def note_start(folder: Path, line: str, init: Path | None, resumed: bool) -> None:
    """Record how a run was started, and again each time that it is resumed."""
    record = {"command": line, "commit": _commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    if init is not None:
        record["init_sha256"] = hashlib.sha256(init.read_bytes()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    if not resumed:
        (folder / LOG).unlink(missing_ok=True)
    with (folder / STARTED).open("a" if resumed else "w", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _commit() -> str:
    """The commit of the code that runs, with ``-dirty`` appended where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        described = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def write(folder: Path, out: Path, spent: Spent) -> None:
    """Add a run to the ``training.json`` in ``out``, and put its log beside it.

    An entry there is one run: ``started``, its commands with commit and time; ``samples``, ``steps`` and ``minutes``,
    see ``Spent``; ``held_out``, the last figures of held-out pictures, which of answers are the shares that were right
    token for token by kind, and ``n``, of how many; ``retrieval``, of BLIP-2, see ``qformer_bridge``. A run that is
    exported again replaces its entry; one that began without earlier weights starts a new list.
    """
    log = json_lines.read(folder / LOG)
    measured = _last(log, "held_out")
    entry = {
        "started": json_lines.read(folder / STARTED),
        **asdict(spent),
        "held_out": measured.get("held_out", {}),
        "n": measured.get("n", {}),
    }
    retrieval = _last(log, "retrieval")
    if retrieval:
        entry["retrieval"] = retrieval["retrieval"]
    file = out / HISTORY
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    first = entry["started"][:1]
    other_runs = [run for run in earlier if run["started"][:1] != first]
    if not (first and "init_sha256" in first[0]):
        other_runs = []
    (out / LOG).write_bytes((folder / LOG).read_bytes())
    file.write_text(json.dumps([*other_runs, entry], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _last(log: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The last line that has this entry."""
    return next((line for line in reversed(log) if name in line), {})
