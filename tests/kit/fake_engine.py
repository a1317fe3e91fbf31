"""An engine that needs no weights: same events, same shapes as the local one's, answers from a script.

It lets the page be tested in milliseconds, and made slow or faulty on demand.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vlm_demo.checks import checklist
from vlm_demo.checks.latency import Machine
from vlm_demo.contracts import (
    DEFAULT_OCR,
    Anatomy,
    Answer,
    BridgeInfo,
    Candidates,
    Check,
    Conversation,
    Features,
    Grounding,
    HeatmapSettings,
    Lens,
    MapRequest,
    Memory,
    OcrResult,
    OcrSettings,
    OcrWord,
    Prompt,
    Scores,
    Segment,
    Shares,
    StageEvent,
    Timings,
    Token,
    TokenEvent,
    Trace,
    View,
    Word,
)
from vlm_demo.contracts.anatomy import TEMPERATURES
from vlm_demo.contracts.checks import IMAGE_TOKENS, PASS
from vlm_demo.contracts.engine import Cancelled, Capabilities, Event, Request
from vlm_demo.contracts.events import (
    BridgeFacts,
    DecodeFacts,
    EncoderFacts,
    OcrFacts,
    PrefillFacts,
    PromptFacts,
    ViewFacts,
)
from vlm_demo.engines.scheduler import Scheduler
from vlm_demo.errors import BadImage, BadQuestion, Stopped, VlmDemoError, WordNotInAnswer
from vlm_demo.explain.methods import RECORDED
from vlm_demo.images.open import Page, Source, open_image

GRID = (14, 14)
PLACED = Check(IMAGE_TOKENS, PASS, {"placeholders": 196, "features": 196}, "In the template's place.")
SETTINGS = HeatmapSettings("localised", scores={"localised": 0.95, "last": 0.38}, scored=400)


@dataclass(frozen=True, eq=False)
class FakeAnswer(Answer):
    """An answer whose words' maps are blobs that move with their index."""

    def picture_share(self, word: str | Word | int) -> float:
        return 0.25

    def shares(self, word: str | Word | int) -> Shares:
        return Shares(0.25, 0.5, 0.25)

    def steps(self, word: Word) -> list[int]:
        return list(range(word.start, word.stop))

    def heatmap(
        self,
        word: str | Word | int,
        image: int = 0,
        method: str | None = None,
        layer: int | None = None,
        head: int | None = None,
    ) -> np.ndarray:
        width, height = self.views[image].size
        if isinstance(word, str):
            word = next((other for other in self.words if other.text == word), word)
        if isinstance(word, str):
            raise WordNotInAnswer(f"The answer does not hold “{word}”: choose from its words.")
        index = (word.start if isinstance(word, Word) else word) + len(method or "") + 3 * (layer or 0) + (head or 0)
        x, y = width * (0.15 + 0.7 * (index * 0.37 % 1)), height * (0.2 + 0.6 * (index * 0.61 % 1))
        ys, xs = np.mgrid[0:height, 0:width]
        spread = 0.12 * max(width, height)
        return np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * spread**2)).astype(np.float32)


class FakeEngine:
    """Answers ``answer`` word by word, ``pause`` seconds apart; ``precision`` and ``name`` are what was asked for."""

    can_batch = False  # where it stands in a pipeline's place

    def __init__(self, name: str = "llava", precision: str = "bf16", pause: float = 0.0, answer: str | None = None):
        self.name, self.precision, self.pause, self.answer = name, precision, pause, answer
        self.device, self.parameters, self.capabilities = "cpu", None, Capabilities(True, True, True, True, True)
        self.scheduler = Scheduler()
        self.requests: list[dict] = []
        self.forgotten: list[str | None] = []

    def forget(self, visitor: str | None = None) -> None:
        self.forgotten.append(visitor)

    def with_pictures(self, answer: Answer, images: Sequence[Source]) -> Answer:
        if self.name != (answer.replay.by if answer.replay else answer.model):
            raise VlmDemoError(f"{answer.model} wrote this answer, and {self.name} is in service now: ask again first.")
        return replace(answer, views=tuple(self._view(source) for source in images))

    def explain(self, request: Request, text: str) -> Answer:
        if not text.strip():
            raise BadQuestion("The answer to explain is empty: give at least one word.")
        *_, answer = FakeEngine(self.name, self.precision, answer=text).stream(request)
        return answer

    def read_text(
        self, view: View, settings: OcrSettings = DEFAULT_OCR, *, cancelled: Cancelled | None = None
    ) -> OcrResult:
        return OcrResult("TOTAL 12.50", (OcrWord("TOTAL", (10, 10, 80, 30), 96.0),), 0.2)

    def score(
        self, image: Source, texts: Sequence[str], *, cancelled: Cancelled | None = None, visitor: str = ""
    ) -> Scores:
        if not texts or not all(text.strip() for text in texts):
            raise BadQuestion("There is no text to compare: give at least one.")
        even = 1 / len(texts)
        return Scores(
            tuple(texts), (even,) * len(texts), (0.2,) * len(texts), 0.01, None, self._view(image), (), self.name
        )

    def relevancy(
        self, image: Source, text: str, *, cancelled: Cancelled | None = None, visitor: str = ""
    ) -> np.ndarray:
        if not text.strip():
            raise BadQuestion("There is no text to compare: give at least one.")
        if cancelled and cancelled():
            raise Stopped("Stopped.")
        width, height = self._view(image).size
        return np.full((height, width), min(1.0, len(text) / 40), np.float32)

    def heatmap_methods(self, answer: Answer) -> dict[str, str | None]:
        return {"raw": None, "localised": None, "last": None, "queries": "There is no Q-Former.", "occlusion": None}

    def heatmap(self, answer: Answer, wanted: MapRequest, *, cancelled: Cancelled | None = None) -> np.ndarray:
        """Slow, if the engine is, and stoppable."""
        with self.scheduler.turn(cancelled):
            for _ in range(10):
                time.sleep(self.pause)
                if cancelled and cancelled():
                    raise Stopped("Stopped.")
        return answer.heatmap(wanted.word, wanted.image, wanted.method, wanted.layer, wanted.head)

    def grounding(self, answer: Answer, *, cancelled: Cancelled | None = None) -> Grounding:
        if cancelled and cancelled():
            raise Stopped("Stopped.")
        return Grounding("weak", 0.5, 0.2, 0.25, None, "Hiding <what it looked at> hardly changes the answer.")

    def anatomy(self, answer: Answer, *, cancelled: Cancelled | None = None) -> Anatomy:
        """Four layers of which the last two predict what was written; the third attends to the picture most."""
        with self.scheduler.turn(cancelled):
            time.sleep(self.pause)
            if cancelled and cancelled():
                raise Stopped("Stopped.")
        count, patches = len(answer.tokens), GRID[0] * GRID[1]
        if not count:
            raise VlmDemoError("This answer is empty, so there is nothing to look into: ask again.")
        dice = np.random.default_rng(0)
        written = tuple(token.text for token in answer.tokens)
        likeliest_probabilities = np.tile(np.array([[0.1], [0.2], [0.5], [0.9]], np.float32), (1, count))
        written_probabilities = np.tile(np.array([[0.0], [0.1], [0.5], [0.9]], np.float32), (1, count))
        ids = np.array([[1] * count, [2] * count, [7] * count, [7] * count])
        lens = Lens(
            ids,
            ((" the",) * count, (" <i>",) * count, written, written),
            likeliest_probabilities,
            written_probabilities,
            (False,) * 4,
        )
        logits = np.tile(np.arange(20, 0, -1, dtype=np.float32), (count, 1))
        names = tuple((text, *(f" other{i}" for i in range(19))) for text in written)
        scaled = logits[..., None].astype(np.float64) / np.array(TEMPERATURES)
        totals = np.log(np.exp(scaled).sum(1)).astype(np.float32)
        candidates = Candidates(np.tile(np.arange(20), (count, 1)), names, logits, totals)
        return Anatomy(
            before=tuple(Features(dice.normal(size=(patches, 12)).astype(np.float32), GRID) for _ in answer.views),
            after=tuple(Features(dice.normal(size=(patches, 8)).astype(np.float32), GRID) for _ in answer.views),
            text_norms=np.ones(len(answer.prompt.ids) - answer.prompt.image_tokens, np.float32),
            lens=lens,
            image_shares=np.tile(np.array([[0.05], [0.1], [0.4], [0.2]], np.float32), (1, count)),
            changes=np.full((4, count), 0.5, np.float32),
            candidates=candidates,
            seconds=0.01,
        )

    def memory(self) -> Memory:
        return Memory(parameter_bytes=18_900_000, process_bytes=812_000_000)

    def in_distribution(self, view: View) -> float | None:
        return 0.1 if view.image.getpixel((0, 0)) == (1, 2, 3) else 0.9

    def stream(self, request: Request) -> Iterator[Event]:
        self.requests.append(dict(vars(request)))
        if not request.question.strip():
            raise BadQuestion("The question is empty: type what you want to know about the picture.")
        started = time.perf_counter()
        sources = [*(picture for turn in request.history for picture in turn.images), *request.images]
        views = tuple(self._view(source) for source in sources)
        yield StageEvent("view", 0.004, ViewFacts((views[0].size,), (((168, 168),),)))
        read = None
        if request.ocr:
            read = OcrResult("TOTAL 12.50", (OcrWord("TOTAL", (10, 10, 80, 30), 96.0),), 0.2)
            yield StageEvent("ocr", 0.2, OcrFacts(1))
        with self.scheduler.turn(request.cancelled):
            yield from self._computed(request, views, read, started)

    def _computed(
        self, request: Request, views: tuple[View, ...], read: OcrResult | None, started: float
    ) -> Iterator[Event]:
        """What the model does, in its turn."""
        question, ocr, cancelled = request.question, request.ocr, request.cancelled
        prompt = self._prompt(question, len(views), read, request.evidence_only)
        yield StageEvent("prompt", 0.001, PromptFacts(prompt.image_tokens, len(prompt.ids) - prompt.image_tokens))
        features, count = ((196, 192),), len(views)
        bridge = BridgeInfo("projector", "each patch becomes an image token")
        for name, seconds, facts in (
            ("encoder", 0.031, EncoderFacts(((168, 168),), features, 0, count, 0, 196 * 192 * 4)),
            ("bridge", 0.001, BridgeFacts(features, ((196, 256),), bridge, count, 0, 196 * 256 * 4)),
            ("prefill", 0.089, PrefillFacts(len(prompt.ids), 0, False)),
        ):
            time.sleep(self.pause)
            if cancelled and cancelled():
                raise Stopped("Stopped before the first word.")
            yield StageEvent(name, seconds, facts)
        tokens: list[Token] = []
        text, stopped = "", False
        for word in (self.answer or "a large purple star and a small red square").split():
            if cancelled and cancelled():
                stopped = True
                break
            time.sleep(self.pause)
            token = Token((" " if tokens else "") + word, 7, 0.93)
            tokens.append(token)
            text += token.text
            yield TokenEvent(token, text)
        total = time.perf_counter() - started
        yield StageEvent("decode", 0.024 * len(tokens), DecodeFacts(len(tokens), 0))
        words = tuple(Word(token.text.strip(), i, i + 1) for i, token in enumerate(tokens))
        timings = Timings(0.004, 0.2 * ocr, 0.001, 0.031, 0.001, 0.089, 0.024 * len(tokens), 0.12, total)
        answer = FakeAnswer(
            text=text,
            tokens=tuple(tokens),
            words=words,
            prompt=prompt,
            views=views,
            ocr=read,
            timings=timings,
            memory=self.memory(),
            model=self.name,
            stopped=stopped,
            ocrs=(read,) if read else (),
            trace=self._trace(len(tokens), len(views)),
            drawer=RECORDED,
            conversation=Conversation(question, request.evidence_only),
        )
        yield replace(answer, checks=checklist.first(answer, PLACED, Machine(self.precision)))

    @staticmethod
    def _trace(tokens: int, pictures: int) -> Trace:
        """Two layers of three heads; each token attends most to the patch of its own number, the last head most."""
        patches = GRID[0] * GRID[1]
        image = np.full((tokens, 2, 3, pictures * patches), 0.001, np.float16)
        for token in range(tokens):
            image[token, :, :, token] = np.linspace(0.05, 0.3, 6).reshape(2, 3)
        other = np.full(image.shape[:3], 0.25, np.float16)
        return Trace(image, other, other, (patches,) * pictures, 0, SETTINGS)

    @staticmethod
    def _view(source: object) -> View:
        try:
            opened = source
            if isinstance(source, Page):
                opened, _ = open_image(source)
            elif isinstance(source, bytes):
                opened = Image.open(io.BytesIO(source))
            elif isinstance(source, str | Path):
                opened = Image.open(source)
            image = ImageOps.exif_transpose(opened).convert("RGB")
        except OSError as error:
            raise BadImage("This file is not a picture that can be opened: try a PNG or JPEG.") from error
        width, height = image.size
        rows, columns = GRID
        boxes = np.array(
            [
                (c * width / columns, r * height / rows, (c + 1) * width / columns, (r + 1) * height / rows)
                for r in range(rows)
                for c in range(columns)
            ],
            dtype=np.float32,
        )
        processed = np.asarray(image.resize((168, 168)))
        return View(image, image.size, processed, GRID, boxes)

    @staticmethod
    def _prompt(question: str, pictures: int, read: OcrResult | None, rule: bool) -> Prompt:
        parts = [("template", "<s><|user|>", 2)] + [("image", "<image>", 196)] * pictures
        if read:
            parts.append(("ocr", f"Text in the picture:\n{read.text}\n\n", 12))
        parts.append(("question", question, len(question.split())))
        if rule:
            parts.append(("rule", "\nAnswer only from visible evidence; say unknown if it is unclear.", 14))
        parts.append(("template", "<|assistant|>", 1))
        segments, at = [], 0
        for kind, text, length in parts:
            segments.append(Segment(kind, text, at, at + length))
            at += length
        return Prompt(
            "".join(text for _, text, _ in parts),
            tuple(range(at)),
            196 * pictures,
            tuple(range(2, 2 + 196 * pictures)),
            tuple(segments),
            tuple(f"piece {i}" for i in range(at)),
        )
