"""Stages: every stage's time on one time line, and the memory of the model and of the process."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from vlm_demo.contracts.events import EncoderFacts
from vlm_demo.ui import stage_words
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.tabs.inspect.panels.html_pieces import lasted, nothing, size

STAGE_NAMES = {
    "view": "View: what the model is shown",
    "ocr": "OCR: text in the picture",
    "prompt": "Prompt: template and tokens",
    "encoder": "Encoder: pixels to features",
    "bridge": "Bridge: features to image tokens",
    "prefill": "LLM: reading the prompt",
    "decode": "LLM: writing the words",
}
SERVED = {
    "view": "View: what is sent",
    "prompt": "Prompt: messages and pictures",
    "prefill": "Server: until its first word",
    "decode": "Server: writing the words",
}


def draw(exchange: ChatTurn | None) -> Markup:
    """Every stage's time as a bar on one time line, and the memory of the model and of the process."""
    if not exchange or not exchange.answer:
        return nothing("Here stand the time that every stage took, and the memory in use.")
    answer = exchange.answer
    detail = {stage.name: stage_words.detail(stage) for stage in exchange.stages}
    wanted, served = [name for name in STAGE_NAMES if name != "ocr" or exchange.ocr], _served(exchange)
    if served:
        wanted = [name for name in wanted if name in detail]
    times = {name: getattr(answer.timings, name) for name in wanted}
    begins = _begins(times, any(isinstance(s.facts, EncoderFacts) and s.facts.overlaps_ocr for s in exchange.stages))
    total = max(begins[name] + seconds for name, seconds in times.items()) or 1.0
    rows = []
    for name, seconds in times.items():
        left, width = f"{100 * begins[name] / total:.1f}", f"{max(0.6, 100 * seconds / total):.1f}"
        stage = SERVED.get(name, STAGE_NAMES[name]) if served else STAGE_NAMES[name]
        rows.append((stage, detail.get(name, ""), left, width, lasted(seconds)))
    first = "" if exchange.given is not None else f", first word after {answer.timings.first_token:.2f} s"
    whole = f"{answer.timings.total:.2f} s in all{first}"
    here = f"of {answer.replay.by}, which read the answer here" if answer.replay and answer.replay.by else ""
    memory = [
        ("Model", here or "parameters and buffers, counted", size(answer.memory.parameter_bytes)),
        ("Process", "resident, with Python and libraries, measured", size(answer.memory.process_bytes)),
    ]
    if exchange.remote and not here:
        del memory[0]
    model = ", ".join(filter(None, (answer.model, exchange.precision)))
    return render("stages", stages=rows, whole=whole, model=model, memory=memory)


def _served(exchange: ChatTurn) -> bool:
    """Whether a server wrote the answer; one that was given is read here."""
    return exchange.remote and exchange.given is None


def _begins(times: Mapping[str, float], overlaps_ocr: bool) -> dict[str, float]:
    """The start of each stage, in seconds; the encoder starts with OCR where they ran concurrently."""
    begins: dict[str, float] = {}
    before = 0.0
    for name, seconds in times.items():
        if name == "encoder" and overlaps_ocr:
            begins[name] = begins["ocr"]
            before += max(0.0, seconds - times["ocr"])
        else:
            begins[name] = before
            before += seconds
    return begins


def cards(exchange: ChatTurn) -> Markup:
    """Encoder, bridge, prompt and LLM: real shapes, and times as bars on one scale."""
    # The words after the shapes are shown in the Stages tab only.
    detail = {stage.name: stage_words.detail(stage).partition(", ")[0] for stage in exchange.stages}
    times, count = exchange.answer.timings, len(exchange.answer.written)
    steps = count + exchange.answer.cut - 1  # the first token comes of reading the prompt
    paced = exchange.given is None and steps > 0 and times.decode
    pace = f" + {lasted(times.decode / steps)} a token" if paced else ""
    written = f"{count} token{'s' * (count != 1)}"
    rows = [
        ("Encoder", detail.get("encoder", ""), times.encoder, lasted(times.encoder)),
        ("Bridge", detail.get("bridge", ""), times.bridge, lasted(times.bridge)),
        ("Prompt", detail.get("prompt", ""), times.prompt, lasted(times.prompt)),
        ("LLM", f"{len(exchange.answer.prompt.ids)} → {written}", times.prefill, lasted(times.prefill) + pace),
    ]
    if _served(exchange):
        rows = [("Server", written, times.prefill, lasted(times.prefill) + pace)]
    longest = max(seconds for _, _, seconds, _ in rows) or 1.0
    drawn = [(name, shapes, f"{max(3, 100 * seconds / longest):.0f}", text) for name, shapes, seconds, text in rows]
    return render("cards", cards=drawn)
