"""Measure: one checkpoint → rows that compare this pipeline with plain transformers on the same work.

Both run the same weights on the same device; after one warm-up each, they take turns and the medians are compared, so
that a slow minute of the machine affects both. Knows the pipeline's public interface.
"""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import ProxyHandler, build_opener

import numpy as np
import psutil
import torch
from PIL import Image

from vlm_demo import Pipeline, Turn
from vlm_demo.bench import timing
from vlm_demo.bench.plain_transformers import QUESTION, SECOND, PlainTransformers, with_attention
from vlm_demo.bench.timing import peak_memory, taking_turns, timed
from vlm_demo.contracts import TokenEvent
from vlm_demo.models.quantization import release

PICTURE_SIZE = (640, 480)
STREAMED = 2**28  # float32 numbers that are read to measure the memory's bandwidth: 1 GiB
APP = Path(__file__).parents[2] / "app.py"
IMPORTS = "import time, torch, transformers, gradio; print(time.process_time(), flush=True)"


@dataclass(frozen=True)
class Measurement:
    """One comparison.

    Attributes:
        shape: which checkpoint, and what was changed about it.
        what: what was measured.
        ours, plain: medians, in ``unit``; ``plain`` is transformers', or what ``what`` names after its slash.
        ratio: how many times better ours is: above 1 is faster, or smaller, than ``plain``.
    """

    shape: str
    what: str
    ours: float
    plain: float
    unit: str
    ratio: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def less(shape: str, what: str, ours: float, plain: float, unit: str) -> Measurement:
    """A row where less is better."""
    return Measurement(shape, what, ours, plain, unit, plain / ours)


def more(shape: str, what: str, ours: float, plain: float, unit: str) -> Measurement:
    """A row where more is better."""
    return Measurement(shape, what, ours, plain, unit, ours / plain)


def picture(seed: int = 0) -> Image.Image:
    """Noise: the time does not depend on what a picture shows."""
    width, height = PICTURE_SIZE
    pixels = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(PICTURE_SIZE)


def bandwidth(device: torch.device) -> float:
    """Bytes a second that this device reads from its memory: the best of five sums over 1 GiB."""
    block = torch.ones(STREAMED, device=device)
    best = 0.0
    for _ in range(5):
        best = max(best, block.numel() * block.element_size() / timed(lambda: block.sum().item()))
    return best


def loading(name: str, folder: Path, repeats: int) -> Measurement:
    """Loading the checkpoint, with its file in the page cache for both."""
    from transformers import AutoModelForImageTextToText

    def loaded(load: Callable[[], Any]) -> float:
        gc.collect()  # free the previous model
        return timed(load)

    def ours() -> float:
        return loaded(lambda: Pipeline.from_pretrained(folder))

    def plain() -> float:
        return loaded(lambda: AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16))

    return less(name, "load", *taking_turns(repeats, ours, plain), "s")


def answering(name: str, pipe: Pipeline, tokens: int, repeats: int, pictures: int = 1) -> Iterator[Measurement]:
    """Time to the first token, and tokens a second after it, of ``pictures`` pictures and a question."""
    images = [picture(seed) for seed in range(pictures)]
    plain = PlainTransformers(pipe)

    def first() -> float:
        pipe.forget()
        return _first_token(pipe, images, QUESTION)

    yield less(name, "time to first token", *taking_turns(repeats, first, lambda: plain.first(images)), "s")

    def pace() -> float:
        return _pace(pipe, images, tokens)

    yield more(name, "decode", *taking_turns(repeats, pace, lambda: plain.pace(images, tokens)), "tokens/s")


def against_openvino(name: str, pipe: Pipeline, repeats: int) -> Measurement:
    """Time to the first token of a first question, against OpenVINO with the same weights, precision and threads."""
    from vlm_demo.bench.openvino_reference import Reference

    images = [picture()]
    with with_attention(pipe, "sdpa"):
        reference = Reference(pipe, images, QUESTION)

    def ours() -> float:
        pipe.forget()
        return _first_token(pipe, images, QUESTION)

    return less(
        name, "first token / OpenVINO", *taking_turns(repeats, ours, lambda: timed(lambda: reference(images))), "s"
    )


def against_memory(name: str, pipe: Pipeline, tokens: int, repeats: int) -> Measurement:
    """Decode speed against the limit of the memory bandwidth, each token reading every language-model weight once."""
    family = pipe.stages().llm.family
    embeddings = family.language_model.get_input_embeddings().weight
    weights = [weight for weight in family.language_model.parameters() if weight is not embeddings]
    bytes_read = sum(weight.numel() * weight.element_size() for weight in (*weights, *family.head.parameters()))
    images = [picture()]
    paces = taking_turns(repeats, lambda: _pace(pipe, images, tokens), lambda: bandwidth(pipe.device) / bytes_read)
    return more(name, "decode / memory limit", *paces, "tokens/s")


def asking_again(name: str, pipe: Pipeline, tokens: int, repeats: int) -> Measurement:
    """Time to the first token of a second question about the same picture; transformers starts from scratch."""
    images = [picture()]
    plain = PlainTransformers(pipe)
    history = [Turn(QUESTION, pipe.ask(images, QUESTION, max_new_tokens=tokens).text, tuple(images))]

    def ours() -> float:
        pipe.forget()
        pipe.ask(images, QUESTION, max_new_tokens=tokens)
        return _first_token(pipe, [], SECOND, history)

    return less(name, "second question", *taking_turns(repeats, ours, lambda: plain.first([], history)), "s")


def with_heatmaps(name: str, pipe: Pipeline, tokens: int, repeats: int, pictures: int = 1) -> Measurement:
    """A whole answer with the tap open, against the same with the tap closed."""
    images = [picture(seed) for seed in range(pictures)]

    def whole(tapping: bool) -> float:
        pipe.forget()
        pipe.stages().llm.tapping = tapping
        return timed(lambda: pipe.ask(images, QUESTION, max_new_tokens=tokens))

    try:
        on, off = taking_turns(repeats, lambda: whole(True), lambda: whole(False))
    finally:
        pipe.stages().llm.tapping = True
    return less(name, "answer with heatmaps / without", on, off, "s")


def against_eager(name: str, pipe: Pipeline, tokens: int, repeats: int, pictures: int = 1) -> Iterator[Measurement]:
    """A whole answer with the attention of each of its words: time, and the peak memory above what was allocated
    before. Plain transformers gives attention with eager attention and ``output_attentions`` only."""
    images = [picture(seed) for seed in range(pictures)]
    plain = PlainTransformers(pipe)
    peaks: tuple[list[float], list[float]] = ([], [])

    def measured(work: Callable[[], Any], side: int) -> float:
        pipe.forget()
        release()
        with peak_memory(pipe.device) as grown:
            seconds = timed(work)
        peaks[side].append(grown() / 1e9)
        return seconds

    ours, theirs = taking_turns(
        repeats,
        lambda: measured(lambda: pipe.ask(images, QUESTION, max_new_tokens=tokens), 0),
        lambda: measured(lambda: plain.with_attentions(images, tokens), 1),
    )
    yield less(name, "answer with heatmaps / eager", ours, theirs, "s")
    peak, eager_peak = (max(1e-3, median(found[1:])) for found in peaks)
    yield less(name, "peak extra memory / eager", peak, eager_peak, "GB")


def starting(repeats: int) -> Measurement:
    """From the program's start to the served page, against importing torch, transformers and gradio alone."""
    ours, plain = taking_turns(repeats, seconds_to_page, seconds_to_import)
    return less("the page, embedded model", "page ready / bare imports", ours, plain, "s")


def seconds_to_page() -> float:
    """Start the app as a separate process, request its page until it is served, and terminate it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    opener = build_opener(ProxyHandler({}))
    start = time.perf_counter()
    app = psutil.Popen([sys.executable, APP, "--port", str(port)], stdout=subprocess.DEVNULL, cwd=APP.parent)
    try:
        while True:
            try:
                opener.open(f"http://127.0.0.1:{port}/").read()
                break
            except OSError:
                if app.poll() is not None:
                    raise
                time.sleep(0.02)
        if timing.clock is timing.CLOCKS["wall"]:
            return time.perf_counter() - start
        used = app.cpu_times()
        return used.user + used.system
    finally:
        if app.poll() is None:
            app.terminate()
            app.wait()


def seconds_to_import() -> float:
    """A process that imports the three packages; its shutdown is not counted."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", IMPORTS], stdout=subprocess.PIPE, text=True) as importing:
        assert importing.stdout is not None
        used = float(importing.stdout.readline())
        passed = time.perf_counter() - start
    return passed if timing.clock is timing.CLOCKS["wall"] else used


def quantized(name: str, folder: Path, tokens: int, repeats: int) -> Iterator[Measurement]:
    """Parameter bytes, memory growth of the process and decode speed in 8 and 4 bit, against ``generate`` in bf16."""
    images = [picture()]
    pipe = load(folder)
    stored, plain = pipe.memory().parameter_bytes / 1e9, PlainTransformers(pipe)
    for precision in ("8bit", "4bit"):
        gc.collect()
        before = psutil.Process().memory_info().rss
        small = load(folder, precision)
        grown = (small.memory().process_bytes - before) / 1e9
        yield less(name, f"{precision} parameters / bf16", small.memory().parameter_bytes / 1e9, stored, "GB")
        yield less(name, f"{precision} process / bf16 parameters", max(grown, 1e-3), stored, "GB")

        def pace(pipe: Pipeline = small) -> float:
            return _pace(pipe, images, tokens)

        paces = taking_turns(repeats, pace, lambda: plain.pace(images, tokens))
        yield more(name, f"{precision} decode / bf16 generate", *paces, "tokens/s")
        del small, pace


def load(folder: str | Path, precision: str = "none", dtype: str | None = None, own_thread: bool = False) -> Pipeline:
    """The pipeline, generating up to the limit always: random weights may emit EOS anywhere, and repeat themselves."""
    pipe = Pipeline.from_pretrained(folder, quantize=precision, dtype=dtype, own_thread=own_thread)
    pipe.stages().llm.ends, pipe.cuts_repetition = frozenset(), False
    return pipe


def _first_token(pipe: Pipeline, images: Sequence[Image.Image], question: str, history: Sequence[Turn] = ()) -> float:
    def work() -> None:
        events = pipe.stream(list(images), question, history=history, max_new_tokens=2)
        next(event for event in events if isinstance(event, TokenEvent))

    return timed(work)


def _pace(pipe: Pipeline, images: Sequence[Image.Image], tokens: int) -> float:
    """Tokens a second after the first one."""
    events = pipe.stream(list(images), QUESTION, max_new_tokens=tokens)
    times = [timing.clock() for event in events if isinstance(event, TokenEvent)]
    return (len(times) - 1) / (times[-1] - times[0])
