"""Sampling: how the next token is chosen from the logits, and where the answer ends early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vlm_demo.errors import BadSetting

MOST_ALTERNATIVES = 20
LEAST_TEMPERATURE = 1e-4  # below it the likeliest token is taken: logits divided by less may overflow


@dataclass(frozen=True)
class Sampling:
    """Greedy by default: always the likeliest token. Named and meant as in transformers' ``GenerationConfig``.

    Attributes:
        temperature: what the logits are divided by before a token is drawn; 0 = greedy, None = greedy unless ``top_p``
            or ``top_k`` is given, and then 1.
        top_p: 0..1, draw from the likeliest tokens that have this probability together.
        top_k: draw from so many likeliest tokens.
        seed: of the drawing, 0 to 2**63 - 1; None = another one each time.
        repetition_penalty: above 1, what is there already becomes less likely (Keskar et al. 2019,
            https://arxiv.org/abs/1909.05858); below 1, likelier; None = the checkpoint's own. It counts without
            sampling too.
        stop: texts before the first of which the answer ends; none of them is in it.
        schema: a JSON schema as text: no token is chosen after which the answer could not become JSON that fits it;
            None = free text.
        alternatives: how many of the likeliest tokens are listed at each position (``Token.alternatives``), 0 to 20.
    Raises:
        BadSetting: one of them is out of its range; says which.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    repetition_penalty: float | None = None
    stop: tuple[str, ...] = ()
    schema: str | None = None
    alternatives: int = 0

    def __post_init__(self) -> None:
        # A name, the value, whether it may be, and what it can be.
        limits = (
            ("temperature", self.temperature, lambda value: value >= 0 and math.isfinite(value), "0 or more"),
            ("top_p", self.top_p, lambda value: 0 < value <= 1, "above 0, at most 1"),
            ("top_k", self.top_k, lambda value: value >= 1 and value == int(value), "a whole number from 1 on"),
            ("seed", self.seed, lambda value: 0 <= value < 2**63 and value == int(value), "from 0 to 2**63 - 1"),
            (
                "repetition_penalty",
                self.repetition_penalty,
                lambda value: 0.01 <= value <= 100,
                "from 0.01 to 100; 1 changes nothing",
            ),
            (
                "alternatives",
                self.alternatives,
                lambda value: 0 <= value <= MOST_ALTERNATIVES and value == int(value),
                f"from 0 to {MOST_ALTERNATIVES}",
            ),
        )
        for name, value, fits, rule in limits:
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not fits(value)):
                raise BadSetting(f"{name} can't be {value!r}: choose a number {rule}.")
        if not all(isinstance(text, str) and text for text in self.stop):
            raise BadSetting("Each text in stop must hold at least one character.")

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn at random."""
        if self.temperature is None:
            return self.top_p is not None or self.top_k is not None
        return self.temperature >= LEAST_TEMPERATURE


GREEDY = Sampling()


def stops(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    """One text or several or none, as they may be given, for ``Sampling.stop``."""
    return () if stop is None else (stop,) if isinstance(stop, str) else tuple(stop)
