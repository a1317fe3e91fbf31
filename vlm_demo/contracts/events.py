"""Events: what a pipeline tells while it works, and what it measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Token:
    """One generated token: its text as it extends the answer, id, and softmax probability 0..1."""

    text: str
    id: int
    probability: float


@dataclass(frozen=True)
class Timings:
    """Wall-clock seconds of each station, without those of whoever looks at its events. ``first_token`` counts from the
    start; ``decode`` is all later tokens."""

    view: float = 0.0
    ocr: float = 0.0
    prompt: float = 0.0
    encoder: float = 0.0
    bridge: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    first_token: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class Memory:
    """Bytes, each measured: the model's parameters and buffers, and the process's resident memory."""

    parameter_bytes: int
    process_bytes: int


@dataclass(frozen=True)
class StageEvent:
    """A station has finished. ``detail`` is its shapes in words, e.g. ``168×168 → 196×192``."""

    name: str
    seconds: float
    detail: str


@dataclass(frozen=True)
class TokenEvent:
    """A token has been generated; ``text`` is the answer so far."""

    token: Token
    text: str
