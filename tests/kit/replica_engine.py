"""An engine of a replica that answers with the process it runs in; made there by its name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.kit.fake_engine import FakeEngine
from vlm_demo.contracts import Answer
from vlm_demo.contracts.engine import Event, Request
from vlm_demo.errors import VlmDemoError

BROKEN = "broken"


class Held(FakeEngine):
    """Ends no answer before a file is there."""

    until = Path()

    def stream(self, request: Request) -> Iterator[Event]:
        for event in super().stream(request):
            while isinstance(event, Answer) and not self.until.exists():
                time.sleep(0.05)
            yield event


def engine(args: Any) -> FakeEngine:
    """Of ``model`` NAME, NAME:PAUSE with the seconds between two words, NAME:PAUSE:WORDS, or NAME:PAUSE:WORDS:FILE
    with the file that its answers wait for."""
    name, pause, words, file, *_ = *args.model.split(":"), "", "", ""
    if name == BROKEN:
        raise VlmDemoError("The weights are broken.")
    made = (Held if file else FakeEngine)(
        name, answer=f"process {os.getpid()} says" + " a" * int(words or 8), pause=float(pause or 0)
    )
    if isinstance(made, Held):
        made.until = Path(file)
    return made
