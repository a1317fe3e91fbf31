"""Replicas: one and two processes of `serve` under the same load → the figures that a plan for many is based on."""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from statistics import mean, median, pstdev

import psutil

from vlm_demo.bench import process
from vlm_demo.bench.plan import ServiceFigures, as_json
from vlm_demo.bench.visitors import Ask, OpenAiVisitor, VisitorReply, VisitorResults, pictures, visit
from vlm_demo.errors import VlmDemoError

UNLOADED_PICTURES = 8  # that one replica is asked about twice, without other load
IDLE_SECONDS = 10.0  # seconds
VISITORS = 6
PICTURES_EACH = 400  # of a visitor; none is asked about again later
FRONTS = ("ServeReplica:front", "ProxyActor")
QUESTIONS = ("Describe the picture.", "What is it?", "Which colours are there?")


@dataclass(frozen=True)
class Serving:
    """What was measured: the plan's figures, and a run of each kind of server: name → answers a second, share of cached
    prompts, median seconds of an answer, errors."""

    measured: ServiceFigures
    runs: dict[str, tuple[float, float, float, int]]

    def lines(self) -> Iterator[str]:
        """For printing."""
        figures = self.measured
        yield f"{'server':<28}{'answers/s':>10}{'remembered':>12}{'median':>9}{'errors':>8}"
        for name, (rate, hits, seconds, errors) in self.runs.items():
            yield f"{name:<28}{rate:>10.3f}{hits:>12.0%}{seconds:>8.2f}s{errors:>8}"
        yield f"Two replicas / one: {figures.together:.2f}"
        hit, miss = figures.hit_seconds, figures.miss_seconds
        yield f"Alone: {hit:.2f} s where the picture is remembered, {miss:.2f} s where not"
        yield f"Front and proxy: {figures.front_seconds * 1000:.1f} ms of a processor a request"
        yield f"Start: {figures.start_seconds:.0f} s; a picture takes {figures.picture_bytes / 2**20:.1f} MiB of memory"

    def as_dict(self) -> dict[str, object]:
        """For JSON, as `plan.read` reads it."""
        names = ("rate", "hits", "seconds", "errors")
        return {
            "measured": as_json(self.measured),
            "runs": {name: dict(zip(names, run, strict=True)) for name, run in self.runs.items()},
        }


def measured(model: str, seconds: float) -> Serving:
    """Start one replica, then two, with and without affinity, each under the same load for so many seconds.

    Raises:
        VlmDemoError: Ray is not installed, or a server did not start.
    """
    runs: dict[str, tuple[float, float, float, int]] = {}
    picture_bytes, cache_bytes = _cache(model)
    start_time = time.perf_counter()
    with process.replicas(1, "--model", model) as server:
        start = time.perf_counter() - start_time
        unloaded_replies = _unloaded(server, model)
        idle = _idle(server)
        before, start_time = _overhead(server), time.perf_counter()
        results = _under_load(server, model, seconds)
        busy = _overhead(server) - before - idle * (time.perf_counter() - start_time)
        front = busy / max(1, len(results.replies))
    runs["one replica"] = _run_figures(results, seconds)
    with process.replicas(2, "--model", model) as server:
        runs["two, by picture"] = _run_figures(_under_load(server, model, seconds), seconds)
    with process.replicas(2, "--model", model, "--no-affinity") as server:
        runs["two, anywhere"] = _run_figures(_under_load(server, model, seconds), seconds)
    hits, misses = (
        [reply.seconds for reply in unloaded_replies if bool(reply.cached_tokens) is cached] for cached in (True, False)
    )
    if not hits or not misses or not results.replies:
        raise VlmDemoError("No answer was measured: see what python -m vlm_demo serve prints.")
    together = [*hits, *misses]
    body = len(str(OpenAiVisitor(server.address, model).body(pictures(1)[0])))
    figures = ServiceFigures(
        hit_seconds=median(hits),
        miss_seconds=median(misses),
        variation=pstdev(together) / mean(together),
        front_seconds=front,
        request_bytes=body,
        picture_bytes=picture_bytes,
        cache_bytes=cache_bytes,
        start_seconds=start,
        together=runs["two, by picture"][0] / runs["one replica"][0],
        hits=runs["two, by picture"][1],
        hits_without=runs["two, anywhere"][1],
        questions=len(QUESTIONS),
    )
    return Serving(figures, runs)


def _unloaded(server: process.ServerProcess, model: str) -> list[VisitorReply]:
    """Ask about each picture twice, with the same question; the very first request warms up."""
    visitor = OpenAiVisitor(server.address, model, QUESTIONS[0])
    visitor.ask(pictures(UNLOADED_PICTURES + 1)[-1])
    return [visitor.ask(uri) for uri in pictures(UNLOADED_PICTURES) for _ in range(2)]


def _idle(server: process.ServerProcess) -> float:
    """Processor seconds a second of the front and the proxies without requests."""
    before = _overhead(server)
    time.sleep(IDLE_SECONDS)
    return (_overhead(server) - before) / IDLE_SECONDS


def _under_load(server: process.ServerProcess, model: str, seconds: float) -> VisitorResults:
    """Visitors without a pause; each asks all QUESTIONS about a new picture, then moves on to
    the next one."""
    all_uris = pictures(VISITORS * PICTURES_EACH)
    asks = [
        _in_turn([OpenAiVisitor(server.address, model, question) for question in QUESTIONS]) for _ in range(VISITORS)
    ]
    uris = [
        [uri for uri in all_uris[number * PICTURES_EACH : (number + 1) * PICTURES_EACH] for _ in QUESTIONS]
        for number in range(VISITORS)
    ]
    return visit(asks, uris, {}, seconds)


def _in_turn(visitors: Sequence[OpenAiVisitor]) -> Ask:
    turns = cycle(visitors)
    return lambda uri: next(turns).ask(uri)


def _overhead(server: process.ServerProcess) -> float:
    """Processor seconds of the front and of Ray's proxies."""
    total = 0.0
    for child in server.children():
        with suppress(psutil.Error):
            if any(name in " ".join(child.cmdline()) for name in FRONTS):
                times = child.cpu_times()
                total += times.user + times.system
    return total


def _cache(model: str) -> tuple[float, float]:
    """Bytes that the pipeline caches of a picture and its prompt, and the cache's budget."""
    from vlm_demo import Pipeline

    pipe = Pipeline.from_pretrained(model)
    sizes = []
    for uri in pictures(3):
        pipe.ask(base64.b64decode(uri.partition(",")[2]), QUESTIONS[0], max_new_tokens=1)
        sizes.append(pipe.remembered.bytes)
    return (sizes[-1] - sizes[0]) / 2, float(pipe.remembered.budget)


def _run_figures(results: VisitorResults, seconds: float) -> tuple[float, float, float, int]:
    replies: Sequence[VisitorReply] = results.replies
    hits = mean(reply.cached_tokens > 0 for reply in replies) if replies else math.nan
    middle = median(reply.seconds for reply in replies) if replies else math.nan
    return len(replies) / seconds, hits, middle, len(results.errors)
