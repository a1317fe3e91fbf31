"""JSON lines: a file with an object a line → those objects, also while the file is growing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read(file: Path) -> list[dict[str, Any]]:
    """The objects of the whole lines; none where there is no file. Only a line feed ends a line: captions may hold
    other separators."""
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.endswith("}")]
