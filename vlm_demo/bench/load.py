"""Load: visitors at the app for some minutes → answers, waits, errors, wrong answers, growth of memory.

Before, every picture is asked about once with nobody else there; what is heard later has to be the same text. Half of
the visitors come by the page's own endpoint, half by ``/v1``. The weights are float32 for it: there an answer is the
same token for token however many are computed together, which bf16 is too coarse for where tokens are sampled.
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
from vlm_demo.bench.visitors import Ask, Heard, OpenAiVisitor, PageVisitor, pictures, visit

EACH = 3  # pictures of a visitor
DRAWN = 1.0  # temperature of the answers, so that those of different pictures differ
SAMPLING = 1.0  # seconds between two looks at the memory


@dataclass(frozen=True)
class Load:
    """What came of it.

    Attributes:
        visitors, minutes: of the run.
        distinct: how many of the pictures' answers no other picture has.
        pictures: how many there are.
        answers: that were heard.
        wrong: (expected, heard) of answers that differ from those given alone.
        errors: sentences of requests that failed otherwise than by being asked to come again.
        away: how often a visitor was asked to come again.
        first_p50, first_p95: seconds to the first word.
        answer_p50, answer_p95: seconds to the end.
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
    memory: tuple[float, float]

    @property
    def passed(self) -> bool:
        """Nothing was wrong, and nothing lost."""
        return not self.wrong and not self.errors and self.answers > 0

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    def line(self) -> str:
        """In a line."""
        began, ended = self.memory
        return (
            f"{self.visitors:>3} visitors, {self.minutes:g} min: {self.answers} answers, {len(self.wrong)} wrong, "
            f"{len(self.errors)} errors, {self.away} asked to come again; first word {self.first_p50:.2f} s "
            f"(95 of 100: {self.first_p95:.2f}), answer {self.answer_p50:.2f} s ({self.answer_p95:.2f}); "
            f"memory {began:.0f} → {ended:.0f} MiB"
        )


def under_load(visitors: int, minutes: float, model: str) -> Load:
    """Start the app, and let so many visitors in."""
    own = pictures(visitors * EACH)
    uris = [own[number * EACH : (number + 1) * EACH] for number in range(visitors)]
    with in_float32(model) as folder, process.page("--model", str(folder)) as server:
        name = OpenAiVisitor(server.address, "").client.get("/v1/models").json()["data"][0]["id"]
        place = server.address, name
        first = OpenAiVisitor(*place, temperature=DRAWN)
        alone = {uri: first.ask(uri).text for uri in own}
        asks: list[Ask] = [
            (
                PageVisitor(server.address, DRAWN) if i % 2 else OpenAiVisitor(server.address, name, temperature=DRAWN)
            ).ask
            for i in range(visitors)
        ]
        samples: list[float] = []
        ended = threading.Event()
        watching = threading.Thread(target=_watch, args=(server, samples, ended))
        watching.start()
        heard = visit(asks, uris, alone, minutes * 60)
        ended.set()
        watching.join()
    return summary(visitors, minutes, list(alone.values()), heard, samples)


@contextmanager
def in_float32(model: str) -> Iterator[Path]:
    """A copy of a model's checkpoint whose weights are float32, until the block ends."""
    from safetensors.torch import load_file, save_file

    from vlm_demo.models import loading

    stored, _ = loading.resolve(model, lambda *_: None)
    with tempfile.TemporaryDirectory() as place:
        folder = shutil.copytree(stored, Path(place, stored.name))
        for file in folder.glob("*.safetensors"):
            save_file({name: weight.float() for name, weight in load_file(file).items()}, file, {"format": "pt"})
        config = folder / "config.json"
        config.write_text(config.read_text(encoding="utf-8").replace('"bfloat16"', '"float32"'), encoding="utf-8")
        yield folder


def summary(visitors: int, minutes: float, alone: Sequence[str], heard: Heard, samples: Sequence[float]) -> Load:
    """The figures of a run; ``samples`` are MiB at even times."""
    firsts = [reply.first for reply in heard.replies if reply.first is not None]
    wholes = [reply.seconds for reply in heard.replies]
    sixth = max(1, len(samples) // 6)
    return Load(
        visitors,
        minutes,
        sum(alone.count(text) == 1 for text in alone),
        len(alone),
        len(heard.replies),
        heard.wrong,
        heard.errors,
        heard.away,
        _quantile(firsts, 0.5),
        _quantile(firsts, 0.95),
        _quantile(wholes, 0.5),
        _quantile(wholes, 0.95),
        (median(samples[sixth : 2 * sixth] or samples), median(samples[-sixth:])) if samples else (0.0, 0.0),
    )


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share)) if values else float("nan")


def _watch(server: process.ServerProcess, samples: list[float], ended: threading.Event) -> None:
    while not ended.wait(SAMPLING):
        samples.append(server.memory())
