"""An engine of a replica that says in which process it runs; made there by its name."""

from __future__ import annotations

import os
from typing import Any

from tests.kit.fake_engine import FakeEngine
from vlm_demo.errors import VlmDemoError

BROKEN = "broken"


def engine(args: Any) -> FakeEngine:
    """Of ``model`` NAME, NAME:PAUSE with the seconds between two of its words, or NAME:PAUSE:WORDS."""
    name, pause, words, *_ = *args.model.split(":"), "", ""
    if name == BROKEN:
        raise VlmDemoError("The weights are broken.")
    return FakeEngine(name, answer=f"process {os.getpid()} says" + " a" * int(words or 8), pause=float(pause or 0))
