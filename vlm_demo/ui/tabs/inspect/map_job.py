"""Map job: maps of one word that wait for the model, or are being computed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from vlm_demo.ui.chat_turn import ChatTurn


@dataclass(eq=False)
class Job:
    """Maps of one word that the model has to be asked for.

    Attributes:
        wanted: the exchange, the index of the word in its answer, and the method.
        running: whether it is its turn.
        problem: the sentence that stands where the map would be, if it failed.
        stop: set to end the computing.
    """

    wanted: tuple[ChatTurn, int, str]
    running: bool = False
    problem: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
