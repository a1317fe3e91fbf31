"""Data: endless batches of drawn pictures, made on the fly in worker processes, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerFast

from vlm_demo.synthetic.charts import draw_chart
from vlm_demo.synthetic.questions import ask, transcript
from vlm_demo.synthetic.receipts import draw_receipt, imitate_ocr
from vlm_demo.synthetic.scenes import draw_scene
from vlm_demo.synthetic.world import Picture
from vlm_demo.training.packing import Packer, collate
from vlm_demo.training.patches import GRID, PatchLabels, model_pixels, patch_labels, places

PICTURES, LONG_PICTURES = 10, 8  # a batch; the second where the prompt holds OCR text
QUESTIONS, FEWER_QUESTIONS = 16, 9  # of a scene; of a chart or a receipt, which have less to ask about
# "text" is a receipt's OCR text without its picture: what is copied from text can be learnt from text, faster.
DRAW: dict[str, Callable[[np.random.Generator], Picture]] = {
    "scene": draw_scene,
    "chart": draw_chart,
    "chart ocr": draw_chart,
    "receipt": draw_receipt,
    "text": draw_receipt,
}
KINDS = (*DRAW, "copy")  # the last: random tokens to be repeated
KIND_SHARES = (0.64, 0.15, 0.08, 0.08, 0.03, 0.02)
COPIED_TOKENS, COPIES = (30, 120), 8


def _picture_parts(picture: Picture, labels: PatchLabels) -> tuple[np.ndarray, ...]:
    return (
        model_pixels(picture.image),
        labels.shape,
        labels.colour,
        labels.middle,
        labels.extent,
        labels.covered,
        labels.row,
        labels.column,
    )


def _stacked(parts: list[tuple[np.ndarray, ...]]) -> dict[str, torch.Tensor]:
    names = ("pixels", "shape", "colour", "middle", "extent", "covered", "row", "column")
    return {
        name: torch.from_numpy(np.stack(column)) for name, column in zip(names, zip(*parts, strict=True), strict=True)
    }


class PatchBatches(IterableDataset):
    """Batches of pictures with patch labels: four scenes, two of them of large shapes, to one chart."""

    def __init__(self, seed: int, start: int, size: int = 16) -> None:
        self.seed, self.start, self.size = seed, start, size

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = torch.utils.data.get_worker_info()
        number = self.start + worker.id
        while True:
            rng = np.random.default_rng([self.seed, 1, number])
            pictures = [self._draw(rng) for _ in range(self.size)]
            yield _stacked([_picture_parts(picture, patch_labels(picture)) for picture in pictures])
            number += worker.num_workers

    @staticmethod
    def _draw(rng: np.random.Generator):
        share = rng.random()
        return draw_chart(rng) if share < 0.2 else draw_scene(rng, large=share < 0.6)


class QuestionBatches(IterableDataset):
    """Batches of pictures with patch labels and packed questions; each batch is of one of KINDS."""

    def __init__(self, seed: int, start: int, tokenizer: PreTrainedTokenizerFast) -> None:
        self.seed, self.start, self.tokenizer = seed, start, tokenizer

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = torch.utils.data.get_worker_info()
        number = self.start + worker.id
        packer, text_packer = Packer(self.tokenizer, GRID * GRID), Packer(self.tokenizer, 0)
        while True:
            rng = np.random.default_rng([self.seed, 3, number])
            yield self.batch(rng, packer, text_packer)
            number += worker.num_workers

    def batch(self, rng: np.random.Generator, packer: Packer, text_packer: Packer) -> dict[str, torch.Tensor]:
        """One batch, drawn from ``rng``."""
        kind = str(rng.choice(KINDS, p=KIND_SHARES))
        if kind == "copy":
            length = int(rng.integers(*COPIED_TOKENS))
            return collate([text_packer.exercise(length, rng) for _ in range(COPIES)], text_packer.pad)
        reads = kind in ("chart ocr", "receipt", "text")
        parts, packed = [], []
        for _ in range(LONG_PICTURES if reads else PICTURES):
            picture = DRAW[kind](rng)
            read: list[str] | None = None
            if kind in ("chart ocr", "text") or (kind == "receipt" and rng.random() < 0.7):
                read = imitate_ocr(picture.facts["texts"], rng)
            elif kind == "scene" and rng.random() < 0.03:
                read = _nothing_much(rng)
            questions = ask(picture, QUESTIONS if kind == "scene" else FEWER_QUESTIONS, rng, read)
            if kind in ("receipt", "text") and read and rng.random() < 0.25:
                questions.append(transcript(read, rng))
            if kind == "text":
                packed.append(text_packer.pack(questions, read, rng))
                continue
            labels = patch_labels(picture)
            parts.append(_picture_parts(picture, labels))
            packed.append(packer.pack(questions, read, rng, places(picture, labels)))
        if kind == "text":
            return collate(packed, packer.pad)
        return _stacked(parts) | collate(packed, packer.pad)


def _nothing_much(rng: np.random.Generator) -> list[str]:
    """What OCR imagines in a picture without text."""
    scraps = ["e", "@", "oO", "|", "A", "--", "V", "4", "Ls", "ee ©", "x"]
    return [str(s) for s in rng.choice(scraps, int(rng.integers(1, 4)))]


def loader(dataset: IterableDataset, workers: int) -> DataLoader:
    """Batches from ``workers`` processes of one thread each."""
    return DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=6,
        worker_init_fn=lambda _: torch.set_num_threads(1),
    )
