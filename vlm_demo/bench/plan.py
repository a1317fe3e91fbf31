"""Plan: what was measured of one replica → what N replicas sustain, how long questions wait, what saturates first.

Waits are those of queueing theory for arrivals at random (Poisson): Erlang's C and Allen and Cunneen's approximation of
one queue for all replicas (A. O. Allen, Probability, Statistics, and Queueing Theory, 2nd ed., 5.3), Pollaczek and
Khinchine's formula for one queue for each. Questions that go to their picture's replica, and elsewhere only where its
queue is full, wait no shorter than the first and no longer than the second.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from vlm_demo.errors import VlmDemoError

BASE64 = 4 / 3  # bytes are sent for each of a picture's bytes
GIGABIT = 125e6  # bytes a second


@dataclass(frozen=True)
class ServiceFigures:
    """What `bench --serving` measured on one machine.

    Attributes:
        hit_seconds, miss_seconds: of an answer by an idle replica, its picture cached or new.
        variation: the standard deviation of an answer's seconds over their mean, hits and misses together.
        front_seconds: processor time of the front and of Ray's proxy for one request.
        request_bytes: of one request with its picture.
        picture_bytes: what a replica caches of one picture and a prompt.
        cache_bytes: the budget of its cache.
        start_seconds: from a replica's start to its first answer.
        together: answers of two replicas a second over those of one, under the same load.
        hits, hits_without: share of cached prompts with and without affinity, on two replicas.
        questions: that were asked about each picture, one after the other.
    """

    hit_seconds: float
    miss_seconds: float
    variation: float
    front_seconds: float
    request_bytes: float
    picture_bytes: float
    cache_bytes: float
    start_seconds: float
    together: float
    hits: float
    hits_without: float
    questions: float

    def hits_anywhere(self, replicas: int) -> float:
        """The share of cached prompts without affinity: question k + 1 about a picture reaches a replica that has seen
        it with the probability 1 - (1 - 1 / replicas)^k."""
        questions = int(self.questions)
        return sum(1 - (1 - 1 / replicas) ** earlier for earlier in range(questions)) / questions

    def seconds(self, hits: float) -> float:
        """The mean of an answer where this share of the prompts is cached."""
        return hits * self.hit_seconds + (1 - hits) * self.miss_seconds


@dataclass(frozen=True)
class Wait:
    """Seconds before a replica takes a question up: the mean, and what 95 of 100 don't exceed."""

    mean: float
    p95: float


@dataclass(frozen=True)
class Limit:
    """One part that requests pass: how many a second it sustains, and how many of it are needed."""

    name: str
    rate: float
    needed: int
    remedy: str


@dataclass(frozen=True)
class Plan:
    """The plan for a number of replicas.

    Attributes:
        rate: questions a second that arrive.
        seconds: of an answer in the mean.
        load: the share of the replicas' time that is used.
        shared_queue, separate_queues: waits with one queue for all, and with one for each.
        waiting_room: questions that should be let wait, so that 1 of 1,000 is turned away in the steady state.
        limits: the lowest rate first.
        restart_queue: questions that arrive while one replica starts, beyond what the others can take.
    """

    replicas: int
    rate: float
    seconds: float
    load: float
    shared_queue: Wait
    separate_queues: Wait
    waiting_room: int
    limits: tuple[Limit, ...]
    restart_queue: float


def erlang_c(servers: int, offered: float) -> float:
    """The probability that an arrival has to wait: M/M/c, ``offered`` = rate × seconds, below ``servers``."""
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked / (1 - (offered / servers) * (1 - blocked))


def shared_queue(rate: float, seconds: float, variation: float, servers: int) -> Wait:
    """One queue for all servers, by Allen and Cunneen; the waits above 0 are taken as exponential.

    Raises:
        VlmDemoError: more arrives than can be served.
    """
    offered = rate * seconds
    if offered >= servers:
        raise VlmDemoError(f"{servers} replicas answer {servers / seconds:.2f} questions a second: ask for fewer.")
    waits = erlang_c(servers, offered)
    each = seconds / (servers - offered) * (1 + variation**2) / 2  # of those that wait
    return Wait(waits * each, each * math.log(waits / 0.05) if waits > 0.05 else 0.0)


def separate_queues(rate: float, seconds: float, variation: float, servers: int) -> Wait:
    """A queue for each server, chosen regardless of its length; for one server Allen and Cunneen's formula is exact."""
    return shared_queue(rate / servers, seconds, variation, 1)


def plan(
    measured: ServiceFigures, replicas: int, load: float, request_bytes: float | None = None, link: float = 10 * GIGABIT
) -> Plan:
    """What ``replicas`` of them sustain when this share of their time is used.

    Args:
        load: below 1.
        request_bytes: of one request; None = as measured, whose pictures are small drawings.
        link: bytes a second that the head node can receive.
    """
    seconds, size = measured.seconds(measured.hits), request_bytes or measured.request_bytes
    rate = load * replicas / seconds
    offered = rate * seconds
    pooled = shared_queue(rate, seconds, measured.variation, replicas)
    # The probability of a queue of length n in an M/M/c falls by this factor with each n.
    factor = 1 - (1 - load) * 2 / (1 + measured.variation**2)
    room = math.ceil(math.log(0.001 / erlang_c(replicas, offered)) / math.log(factor)) if 0 < factor < 1 else 1
    limits = [
        Limit("replicas", replicas / seconds, math.ceil(offered / load), "add replicas"),
        Limit("one front and its proxy", 1 / measured.front_seconds, math.ceil(rate * measured.front_seconds),
              "several such groups behind a balancer that hashes the picture"),
        # A request crosses it twice: into the front, and out to a replica on another node.
        Limit("the head node's link", link / (2 * size), math.ceil(rate * 2 * size / link),
              "proxies on every node; smaller pictures"),
    ]  # fmt: skip
    return Plan(
        replicas,
        rate,
        seconds,
        load,
        pooled,
        separate_queues(rate, seconds, measured.variation, replicas),
        max(room, 1),
        tuple(sorted(limits, key=lambda limit: limit.rate)),
        max(0.0, rate - (replicas - 1) / seconds) * measured.start_seconds,
    )


def report(measured: ServiceFigures, planned: Plan) -> Iterator[str]:
    """The plan in lines."""
    remembered = measured.cache_bytes / measured.picture_bytes
    anywhere = measured.hits_anywhere(planned.replicas)
    yield f"{planned.replicas} replicas, {planned.load:.0%} of their time used: {planned.rate:.2f} questions a second."
    yield f"An answer takes {planned.seconds:.2f} s in the mean, its seconds vary by {measured.variation:.2f} of that."
    yield "Wait before a replica begins           mean      95 of 100"
    for name, wait in (
        ("  one line before all", planned.shared_queue),
        ("  a line before each", planned.separate_queues),
    ):
        yield f"{name:<36}{wait.mean:7.2f} s  {wait.p95:9.2f} s"
    yield f"Waiting room for 1 refusal in 1,000: {planned.waiting_room} questions."
    yield "What bears least comes first         a second   needed"
    for limit in planned.limits:
        yield f"  {limit.name:<34}{limit.rate:9.2f}  {limit.needed:7d}   then: {limit.remedy}"
    yield (
        f"Each replica remembers {remembered:.0f} pictures, all {planned.replicas} together "
        f"{remembered * planned.replicas:.0f}: at this rate those of the last "
        f"{remembered * planned.replicas / max(planned.rate * (1 - measured.hits), 1e-9):.0f} s."
    )
    yield (
        f"Sent anywhere, {anywhere:.0%} of the prompts are remembered, not {measured.hits:.0%}: an answer takes "
        f"{measured.seconds(anywhere) / planned.seconds:.2f} times as long."
    )
    yield (
        f"While one replica starts ({measured.start_seconds:.0f} s), {planned.restart_queue:.0f} questions more "
        "arrive than the others can take."
    )


def read(path: Path) -> ServiceFigures:
    """Read what `bench --serving` wrote.

    Raises:
        VlmDemoError: it is missing, or no such file.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["measured"]
        return ServiceFigures(**{field.name: float(stored[field.name]) for field in fields(ServiceFigures)})
    except (OSError, ValueError, KeyError, TypeError):
        raise VlmDemoError(f"{path} holds no measurements: have them written by bench --serving.") from None


def as_json(measured: ServiceFigures) -> dict[str, float]:
    """For the file that `read` reads."""
    return asdict(measured)
