"""Map job: maps of one word that wait for the model, or are being computed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from vlm_demo.ui.chat_turn import ChatTurn


@dataclass(eq=False)
class Job:
    """Maps of one word that the model has to compute.

    Attributes:
        wanted: the exchange, the index of the word in its answer, and the method.
        running: whether it is being computed.
        problem: the sentence shown in place of the map, if it failed.
        stop: set to end the computation.
    """

    wanted: tuple[ChatTurn, int, str]
    running: bool = False
    problem: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
