"""Metrics: the counters of a front → Prometheus' text format 0.0.4. Names no picture, question or address."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)  # seconds


@dataclass(frozen=True)
class Facts:
    """What a replica reports of its answers since its last report.

    Attributes:
        answers: how many.
        hits: how many of them hit the prefix cache, as far as the picture or further.
        prompt, known, written: tokens in their prompts, cached ones among these, and generated tokens.
    """

    answers: int = 0
    hits: int = 0
    prompt: int = 0
    known: int = 0
    written: int = 0


class Histogram:
    """Seconds, counted below each of BOUNDS."""

    def __init__(self) -> None:
        self.counts, self.total = [0] * (len(BOUNDS) + 1), 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """In Prometheus' format: each bucket includes those before it."""
        below = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            below += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {below}'
        yield f"{name}_sum{{{labels}}} {self.total:.6f}"
        yield f"{name}_count{{{labels}}} {below}"


class Metrics:
    """The metrics of one front. Every sample is labelled with its name, ``front``, so that Prometheus keeps several
    apart."""

    def __init__(self, front: str) -> None:
        self.front = front
        self.statuses: Counter[int] = Counter()
        self.facts = Facts()
        self.first_token, self.answer = Histogram(), Histogram()
        self._lock = threading.Lock()

    def ended(self, status: int, first: float | None, whole: float) -> None:
        """Record a request that was answered with this ``status`` after ``whole`` seconds, and its ``first`` token
        after so many; None where it was no stream."""
        with self._lock:
            self.statuses[status] += 1
            if status == 200:
                self.answer.add(whole)
                if first is not None:
                    self.first_token.add(first)

    def record(self, facts: Facts) -> None:
        """Add a replica's report."""
        with self._lock:
            self.facts = added(self.facts, facts)

    def text(self, waiting: int, working: int, places: int) -> str:
        """All metrics, with the number of requests ``waiting`` for a replica and ``working`` at one now, of how many
        ``places``."""
        front_label = f'front="{self.front}"'
        with self._lock:
            lines = [
                *_family("requests_total", "counter", "Requests by their status of HTTP."),
                *(
                    f'vlm_demo_requests_total{{{front_label},status="{s}"}} {n}'
                    for s, n in sorted(self.statuses.items())
                ),
                *_one("answers_total", "counter", "Answers that the replicas gave.", front_label, self.facts.answers),
                *_one(
                    "cache_hits_total", "counter", "Answers whose prompt was remembered.", front_label, self.facts.hits
                ),
                *_family("tokens_total", "counter", "Tokens of prompts, remembered ones among them, and of answers."),
                *(
                    f'vlm_demo_tokens_total{{{front_label},kind="{kind}"}} {getattr(self.facts, kind)}'
                    for kind in ("prompt", "known", "written")
                ),
                *_one("requests_waiting", "gauge", "Requests that wait for a replica.", front_label, waiting),
                *_one("requests_working", "gauge", "Requests that replicas work at.", front_label, working),
                *_one("places", "gauge", "Requests that may wait or be worked at.", front_label, places),
                *_family("first_token_seconds", "histogram", "From a request to its stream's first token."),
                *self.first_token.lines("vlm_demo_first_token_seconds", front_label),
                *_family("answer_seconds", "histogram", "From a request to the end of its answer."),
                *self.answer.lines("vlm_demo_answer_seconds", front_label),
            ]
        return "\n".join(lines) + "\n"


def added(left: Facts, right: Facts) -> Facts:
    """Their sum."""
    return Facts(*(a + b for a, b in zip(_numbers(left), _numbers(right), strict=True)))


def _numbers(facts: Facts) -> Sequence[int]:
    return facts.answers, facts.hits, facts.prompt, facts.known, facts.written


def _family(name: str, kind: str, help_: str) -> tuple[str, str]:
    return f"# HELP vlm_demo_{name} {help_}", f"# TYPE vlm_demo_{name} {kind}"


def _one(name: str, kind: str, help_: str, labels: str, value: int) -> tuple[str, ...]:
    return *_family(name, kind, help_), f"vlm_demo_{name}{{{labels}}} {value}"
