"""Where the time went, whether the model fits, and what fewer bits change, measured or said to be unmeasured."""

from __future__ import annotations

import pytest

from vlm_demo.checks import latency
from vlm_demo.checks.latency import Machine
from vlm_demo.contracts import Check, Memory, Timings
from vlm_demo.contracts.checks import FAIL, PASS, WARN

MEMORY = Memory(300_000_000, 900_000_000)
ROOMY = 8_000_000_000
FAST = Timings(view=0.1, encoder=0.1, prefill=0.6, decode=0.2, first_token=0.8, total=1.0)
PREFILL = Timings(view=0.1, encoder=0.9, prefill=12.0, decode=2.0, first_token=13.0, total=15.0)
DECODE = Timings(view=0.1, encoder=0.9, prefill=1.0, decode=70.0, first_token=2.0, total=72.0)
ENCODER = Timings(view=0.1, encoder=70.0, prefill=1.0, decode=1.0, first_token=71.1, total=72.1)
PLANTED = [
    (FAST, ROOMY, PASS, "Reading the prompt took 60% of the time"),
    (PREFILL, ROOMY, WARN, "Reading the prompt took 80%"),
    (DECODE, ROOMY, WARN, "Writing the answer took 97%"),
    (ENCODER, ROOMY, FAIL, "Encoding the picture took 97%"),
    (FAST, None, PASS, "Reading the prompt"),
    (FAST, 200_000_000, WARN, "fills 82% of the memory"),
    (FAST, 20_000_000, FAIL, "fills 98% of the memory"),
    (PREFILL, 20_000_000, FAIL, "fills 98% of the memory"),
]


def checked(timings: Timings, machine: Machine) -> Check:
    return latency.check(timings, MEMORY, machine, image_tokens=81, answer_tokens=7)


@pytest.mark.parametrize("timings, free, verdict, word", PLANTED)
def test_the_verdict_of_a_planted_machine(timings: Timings, free: int | None, verdict: str, word: str) -> None:
    own = checked(timings, Machine("bf16", free))
    assert own.verdict == verdict and word in own.why
    assert bool(own.remedy) == (verdict != PASS)


def test_the_advice_begins_with_what_costs_nothing() -> None:
    own = checked(PREFILL, Machine("bf16", ROOMY, weights={"8bit": 180_000_000}, seconds={"8bit": 20.0}))
    first, second, third = own.remedy.split("; then ")
    assert "fewer image tokens" in first and "fewer bits" in second and "smaller model" in third
    assert "8 bit here: 120 MB less, 5.00 s more" in own.remedy


def test_a_speed_that_was_not_measured_is_not_guessed() -> None:
    own = checked(FAST, Machine("bf16", ROOMY, weights={"8bit": 180_000_000, "4bit": 130_000_000}))
    assert "8 bit here: 120 MB less, speed not measured; 4 bit here: 170 MB less, speed not measured" in own.why
    assert own.values["total_8bit"] is None and own.values["weights_4bit"] == 130_000_000


def test_seconds_are_compared_with_those_of_the_same_measurement() -> None:
    own = checked(FAST, Machine("bf16", ROOMY, weights={"8bit": 1}, seconds={"bf16": 0.5, "8bit": 0.7}))
    assert "0.20 s more" in own.why


def test_a_quantized_model_is_not_advised_to_be_quantized() -> None:
    own = checked(PREFILL, Machine("4bit", ROOMY, weights={"8bit": 1}))
    assert "bit here" not in own.remedy


def test_on_a_device_its_own_memory_counts() -> None:
    assert checked(FAST, Machine("bf16", 100_000_000, on_device=True)).verdict == WARN  # 300 MB of 400 MB
