"""Latency and memory: where the time went, whether the model fits here, and what fewer bits would change.

Values: total, first_token, and the seconds of each stage; slowest (that stage's name); precision; parameter_bytes,
process_bytes, free_bytes; image_tokens, answer_tokens; for 8bit and 4bit ``weights_8bit`` .. the bytes that the
weights would take (counted from the layers), and ``total_8bit`` .. the seconds that the same question took in it here
(None = not measured: on a processor fewer bits may be slower).

The advice comes in the order of what it costs: nothing (a smaller picture, a shorter answer), a little exactness (fewer
bits), another model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from vlm_demo.contracts.checks import FAIL, LATENCY, PASS, WARN, Check, Value
from vlm_demo.contracts.events import Memory, Timings

STAGES = {
    "view": "preparing the picture",
    "ocr": "reading the text",
    "prompt": "building the prompt",
    "encoder": "encoding the picture",
    "bridge": "translating to image tokens",
    "prefill": "reading the prompt",
    "decode": "writing the answer",
}
# What to do first about the stage that took most of a slow answer.
CHEAPEST = {
    "view": "Shrink the picture before you upload it.",
    "ocr": "Turn OCR off, or crop the picture to the text.",
    "prompt": "Shorten the question.",
    "encoder": "Crop the picture, so that it is cut into fewer tiles; asked again, it is remembered.",
    "bridge": "Crop the picture, so that it is cut into fewer tiles; asked again, it is remembered.",
    "prefill": "Ask about fewer or smaller pictures, so that fewer image tokens have to be read.",
    "decode": "Ask for a shorter answer.",
}
# Seconds: a person's attention leaves after ten (Nielsen 1993, Usability Engineering, chapter 5), and a minute is for
# those who have no other choice.
SLOW, HOPELESS = 10.0, 60.0
TIGHT, FULL = 0.75, 0.95  # of the machine's memory
QUANTIZED = ("8bit", "4bit")


@dataclass(frozen=True)
class Machine:
    """What is known of the model on this machine.

    Attributes:
        precision: of the weights now.
        free_bytes: that can still be taken, of the machine's memory or of the device's own.
        on_device: whether the weights lie in a device's own memory, and not in the process's.
        weights: precision → bytes that the weights would take; only those that this model can be loaded in.
        seconds: precision → what the same question took in it here; only what was measured, the one in use too.
    """

    precision: str
    free_bytes: int | None = None
    on_device: bool = False
    weights: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def check(timings: Timings, memory: Memory, machine: Machine, *, image_tokens: int, answer_tokens: int) -> Check:
    """Judge what one answer took."""
    seconds = {name: getattr(timings, name) for name in STAGES}
    slowest = max(seconds, key=lambda name: seconds[name])
    values: dict[str, Value] = {**asdict(timings), "slowest": slowest, **asdict(memory)}
    values |= {
        "precision": machine.precision,
        "free_bytes": machine.free_bytes,
        "image_tokens": image_tokens,
        "answer_tokens": answer_tokens,
    }
    for precision in QUANTIZED:
        values[f"weights_{precision}"] = machine.weights.get(precision)
        values[f"total_{precision}"] = machine.seconds.get(precision)
    taken = memory.parameter_bytes if machine.on_device else memory.process_bytes
    used = 0.0 if machine.free_bytes is None else taken / (taken + machine.free_bytes)
    fewer = _fewer(memory, timings.total, machine)
    measured = _measured(timings, memory, slowest, seconds[slowest])
    share = seconds[slowest] / timings.total if timings.total else 0.0
    most = f"{STAGES[slowest].capitalize()} took {share:.0%} of the time"
    if used >= TIGHT:
        why = f"The {'model' if machine.on_device else 'process'} fills {used:.0%} of the memory that there is for it."
        return Check(LATENCY, FAIL if used >= FULL else WARN, values, why, _advice("", fewer), measured)
    if timings.first_token >= SLOW or timings.total >= HOPELESS:
        verdict = FAIL if timings.first_token >= HOPELESS else WARN
        return Check(LATENCY, verdict, values, f"{most}.", _advice(CHEAPEST[slowest], fewer), measured)
    return Check(LATENCY, PASS, values, f"{most}{f'; {fewer}' if fewer else ''}.", measured=measured)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _fewer(memory: Memory, total: float, machine: Machine) -> str:
    """What 8 and 4 bit would change, as a half sentence; empty where that is not known."""
    parts = []
    for precision in QUANTIZED:
        if precision not in machine.weights or machine.precision in QUANTIZED:
            continue
        saved = memory.parameter_bytes - machine.weights[precision]
        speed = "speed not measured"
        if precision in machine.seconds:
            change = machine.seconds[precision] - machine.seconds.get(machine.precision, total)
            speed = f"{abs(change):.2f} s {'more' if change > 0 else 'less'}"
        parts.append(f"{precision.removesuffix('bit')} bit here: {_size(saved)} less, {speed}")
    return "; ".join(parts)


def _advice(cheapest: str, fewer: str) -> str:
    """What to do, what costs nothing first."""
    bits = f"then load it in fewer bits ({fewer})" if fewer else ""
    steps = [step for step in (cheapest.rstrip("."), bits, "then choose a smaller model") if step]
    sentence = "; ".join(steps)
    sentence = sentence.removeprefix("then ")
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _measured(timings: Timings, memory: Memory, slowest: str, seconds: float) -> str:
    return (
        f"{timings.total:.2f} s, first word {timings.first_token:.2f} s, {STAGES[slowest]} {seconds:.2f} s; "
        f"model {_size(memory.parameter_bytes)}, process {_size(memory.process_bytes)}"
    )
