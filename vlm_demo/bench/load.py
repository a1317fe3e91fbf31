"""Load: visitors who ask the app for some minutes → answers, latencies, errors, wrong answers, memory growth.

Each picture is first asked about without load; every later answer has to be the same text. Half of the visitors use the
page's endpoint, half ``/v1``. The weights are float32: with them an answer is the same token for token whatever the
batch size, which bf16 is too coarse for where tokens are sampled.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from vlm_demo.bench import process
from vlm_demo.bench.visitors import Ask, OpenAiVisitor, PageVisitor, VisitorResults, pictures, visit

PICTURES_EACH = 3  # pictures of a visitor
TEMPERATURE = 1.0  # so that answers about different pictures differ
SAMPLE_INTERVAL = 1.0  # seconds between two samples of the memory


@dataclass(frozen=True)
class Load:
    """The result of one load test.

    Attributes:
        visitors, minutes: of the run.
        distinct: how many of the pictures have an answer that no other picture has.
        pictures: how many there are.
        answers: how many were received.
        wrong: (expected, received) of answers that differ from those without load.
        errors: sentences of requests that failed other than by being asked to retry.
        away: how often a visitor was asked to retry.
        first_p50, first_p95: seconds to the first word.
        answer_p50, answer_p95: seconds to the end.
        cached: the share of the prompts' tokens that were cached, of the answers by ``/v1``; NaN without any.
        memory: MiB after a sixth of the time, and at the end: medians over a sixth each.
    """

    visitors: int
    minutes: float
    distinct: int
    pictures: int
    answers: int
    wrong: list[tuple[str, str]]
    errors: list[str]
    away: int
    first_p50: float
    first_p95: float
    answer_p50: float
    answer_p95: float
    cached: float
    memory: tuple[float, float]

    @property
    def passed(self) -> bool:
        """Nothing was wrong, and nothing lost."""
        return not self.wrong and not self.errors and self.answers > 0

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    def line(self) -> str:
        """For printing."""
        began, ended = self.memory
        return (
            f"{self.visitors:>3} visitors, {self.minutes:g} min: {self.answers} answers, {len(self.wrong)} wrong, "
            f"{len(self.errors)} errors, {self.away} asked to come again; first word {self.first_p50:.2f} s "
            f"(95 of 100: {self.first_p95:.2f}), answer {self.answer_p50:.2f} s ({self.answer_p95:.2f}); "
            f"{self.cached:.0%} of the prompts' tokens cached; memory {began:.0f} → {ended:.0f} MiB"
        )


def under_load(visitors: int, minutes: float, model: str) -> Load:
    """Start the app, and let so many visitors ask it."""
    all_uris = pictures(visitors * PICTURES_EACH)
    uris = [all_uris[number * PICTURES_EACH : (number + 1) * PICTURES_EACH] for number in range(visitors)]
    with in_float32(model) as folder, process.page("--model", str(folder)) as server:
        name = OpenAiVisitor(server.address, "").client.get("/v1/models").json()["data"][0]["id"]
        address_and_model = server.address, name
        visitor = OpenAiVisitor(*address_and_model, temperature=TEMPERATURE)
        expected = {uri: visitor.ask(uri).text for uri in all_uris}
        asks: list[Ask] = [
            (
                PageVisitor(server.address, TEMPERATURE)
                if i % 2
                else OpenAiVisitor(server.address, name, temperature=TEMPERATURE)
            ).ask
            for i in range(visitors)
        ]
        samples: list[float] = []
        ended = threading.Event()
        sampler = threading.Thread(target=_sample_memory, args=(server, samples, ended))
        sampler.start()
        results = visit(asks, uris, expected, minutes * 60)
        ended.set()
        sampler.join()
    return summary(visitors, minutes, list(expected.values()), results, samples)


@contextmanager
def in_float32(model: str) -> Iterator[Path]:
    """A copy of a model's checkpoint whose weights are float32, until the block ends."""
    from safetensors.torch import load_file, save_file

    from vlm_demo.models import loading

    stored, _ = loading.resolve(model, lambda *_: None)
    with tempfile.TemporaryDirectory() as directory:
        folder = shutil.copytree(stored, Path(directory, stored.name))
        for file in folder.glob("*.safetensors"):
            save_file({name: weight.float() for name, weight in load_file(file).items()}, file, {"format": "pt"})
        config = folder / "config.json"
        config.write_text(config.read_text(encoding="utf-8").replace('"bfloat16"', '"float32"'), encoding="utf-8")
        yield folder


def summary(
    visitors: int, minutes: float, expected: Sequence[str], results: VisitorResults, samples: Sequence[float]
) -> Load:
    """The figures of a run; ``samples`` are MiB at even times."""
    first_word_seconds = [reply.first_word for reply in results.replies if reply.first_word is not None]
    answer_seconds = [reply.seconds for reply in results.replies]
    prompt_tokens = sum(reply.prompt_tokens for reply in results.replies)
    sixth = max(1, len(samples) // 6)
    return Load(
        visitors,
        minutes,
        sum(expected.count(text) == 1 for text in expected),
        len(expected),
        len(results.replies),
        results.wrong,
        results.errors,
        results.retries,
        _quantile(first_word_seconds, 0.5),
        _quantile(first_word_seconds, 0.95),
        _quantile(answer_seconds, 0.5),
        _quantile(answer_seconds, 0.95),
        sum(reply.cached_tokens for reply in results.replies) / prompt_tokens if prompt_tokens else float("nan"),
        (median(samples[sixth : 2 * sixth] or samples), median(samples[-sixth:])) if samples else (0.0, 0.0),
    )


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share)) if values else float("nan")


def _sample_memory(server: process.ServerProcess, samples: list[float], ended: threading.Event) -> None:
    while not ended.wait(SAMPLE_INTERVAL):
        samples.append(server.memory())
