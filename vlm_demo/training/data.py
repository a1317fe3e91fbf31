"""Data: endless batches of drawn pictures, made on the fly in worker processes, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerFast

from vlm_demo.contracts import OcrWord
from vlm_demo.synthetic.areas import AREAS
from vlm_demo.synthetic.printed import spelled, texts
from vlm_demo.synthetic.questions import ask, transcript
from vlm_demo.synthetic.reading import Cache, imitate_ocr
from vlm_demo.synthetic.scenes import draw_scene
from vlm_demo.synthetic.screen_html import read_rendered
from vlm_demo.synthetic.world import Picture
from vlm_demo.training.focus import Focus
from vlm_demo.training.ocr_marks import Piece, marked
from vlm_demo.training.packing import Packer, collate
from vlm_demo.training.patches import GRID, PatchLabels, model_pixels, patch_boxes, patch_labels, places

COPIED_TOKENS, COPIES = (30, 120), 8


@dataclass(frozen=True)
class Portion:
    """How an area is taught: its share of the batches, and pictures a batch and questions a picture, without and with
    OCR text in the prompt."""

    share: float
    plain: tuple[int, int]
    reading: tuple[int, int] = (0, 0)


PORTIONS = {
    "scenes": Portion(0.19, (10, 16)),
    "solids": Portion(0.16, (10, 16)),
    "charts": Portion(0.21, (10, 12), (8, 10)),
    "screens": Portion(0.17, (10, 10), (8, 9)),
    "documents": Portion(0.14, (8, 8), (6, 10)),
    # A document's OCR text without its picture: what is copied from text can be learnt from text, faster.
    "text": Portion(0.04, (0, 0), (6, 10)),
    "copy": Portion(0.09, (0, 0)),  # random tokens to be repeated, rare ones too
}
UNMARKED = 0.1  # of the OCR texts have no marks
READ_FOR_REAL, RENDERED = 0.35, 0.2  # of pictures with OCR, and of screens, where a library has them
BOXED = 0.15  # of the scenes have many small things in boxes, beside those that are drawn so anyway
PATCH_SHARES = {"scenes": 0.5, "solids": 0.15, "charts": 0.15, "screens": 0.12, "documents": 0.08}
LARGE = 0.4  # of the scenes that teach the encoder, those of few large shapes


class Library:
    """Pictures that took longer to make than training can wait for: what the real Tesseract read in some
    (``folder/ocr``, `synthetic/reading.py`) and screens by a real browser (``folder/screens``,
    `synthetic/screen_html.py`). Where there are none, all are drawn and read on the spot."""

    def __init__(self, folder: Path) -> None:
        self.read = {name: Cache(folder / "ocr", name) for name, area in AREAS.items() if area.reads}
        self.screens = read_rendered(folder / "screens")

    def draw(self, name: str, rng: np.random.Generator, reads: bool) -> tuple[Picture, list[list[OcrWord]] | None]:
        """A picture of the area and the lines that OCR reads in it, None without ``reads``."""
        if reads and len(self.read[name]) and rng.random() < READ_FOR_REAL:
            return self.read[name].pick(rng)
        if name == "scenes" and rng.random() < BOXED:
            picture = draw_scene(rng, layout="boxes")
        elif name == "screens" and self.screens and rng.random() < RENDERED:
            picture = self.screens[int(rng.integers(len(self.screens)))]
        else:
            picture = AREAS[name].draw(rng, False)
        if reads:
            return picture, imitate_ocr(picture.facts["words"], rng)
        stray = not picture.facts.get("texts") and rng.random() < 0.03
        return picture, _nothing_much(picture.image.size, rng) if stray else None


def picture_parts(picture: Picture, labels: PatchLabels) -> tuple[np.ndarray, ...]:
    """A picture's pixels and what its patches show, in `stacked`'s order."""
    return (
        model_pixels(picture.image),
        labels.shape,
        labels.colour,
        labels.traits,
        labels.order,
        labels.middle,
        labels.extent,
        labels.covered,
        labels.row,
        labels.column,
    )


def stacked(parts: list[tuple[np.ndarray, ...]]) -> dict[str, torch.Tensor]:
    """The pictures' parts as a batch."""
    names = ("pixels", "shape", "colour", "traits", "order", "middle", "extent", "covered", "row", "column")
    return {
        name: torch.from_numpy(np.stack(column)) for name, column in zip(names, zip(*parts, strict=True), strict=True)
    }


class PatchBatches(IterableDataset):
    """Batches of pictures with patch labels, of every area in its share."""

    def __init__(self, seed: int, start: int, size: int = 16) -> None:
        self.seed, self.start, self.size = seed, start, size

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = torch.utils.data.get_worker_info()
        number = self.start + worker.id
        while True:
            rng = np.random.default_rng([self.seed, 1, number])
            pictures = [self._draw(rng) for _ in range(self.size)]
            yield stacked([picture_parts(picture, patch_labels(picture)) for picture in pictures])
            number += worker.num_workers

    @staticmethod
    def _draw(rng: np.random.Generator) -> Picture:
        name = str(rng.choice(list(PATCH_SHARES), p=list(PATCH_SHARES.values())))
        if name == "scenes":
            return draw_scene(rng, large=rng.random() < LARGE)
        return AREAS[name].draw(rng, False)


class QuestionBatches(IterableDataset):
    """Batches of pictures with patch labels and packed questions; each batch is of one of PORTIONS, and without
    ``blind`` of one that has pictures; some come from the ``library``. With ``focus`` they depend on what was answered
    rightly so far, and on nothing but the seed without."""

    def __init__(
        self,
        seed: int,
        start: int,
        tokenizer: PreTrainedTokenizerFast,
        library: Path,
        blind: bool = True,
        focus: Focus | None = None,
    ) -> None:
        self.seed, self.start, self.tokenizer, self.library = seed, start, tokenizer, library
        self.keep = focus.keep if focus else None
        self.shares = {name: part.share for name, part in PORTIONS.items() if blind or part.plain[0]}

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = torch.utils.data.get_worker_info()
        number = self.start + worker.id
        packer, text_packer = Packer(self.tokenizer, GRID * GRID), Packer(self.tokenizer, 0)
        library = Library(self.library)
        while True:
            rng = np.random.default_rng([self.seed, 3, number])
            yield self.batch(rng, packer, text_packer, library)
            number += worker.num_workers

    def batch(
        self, rng: np.random.Generator, packer: Packer, text_packer: Packer, library: Library
    ) -> dict[str, torch.Tensor]:
        """One batch, drawn from ``rng``."""
        shares = np.array(list(self.shares.values()))
        name = str(rng.choice(list(self.shares), p=shares / shares.sum()))
        if name == "copy":
            length = int(rng.integers(*COPIED_TOKENS))
            return collate([text_packer.exercise(length, rng) for _ in range(COPIES)], text_packer.pad)
        blind = name == "text"
        area = "documents" if blind else name
        reads = blind or rng.random() < AREAS[area].reads
        pictures, asked = PORTIONS[name].reading if reads else PORTIONS[name].plain
        parts, packed = [], []
        for _ in range(pictures):
            picture, read = library.draw(area, rng, reads)
            told = None if read is None else texts(read)
            questions = ask(picture, asked, rng, told, keep=self.keep)
            if name in ("documents", "text") and told and rng.random() < 0.2:
                questions.append(transcript(told[:20], rng))
            pieces = None if read is None else laid_out(read, picture.image.size, packer, rng)
            if blind:
                packed.append(text_packer.pack(questions, pieces, rng))
                continue
            labels = patch_labels(picture)
            parts.append(picture_parts(picture, labels))
            packed.append(packer.pack(questions, pieces, rng, places(picture, labels)))
        if blind:
            return collate(packed, packer.pad)
        return stacked(parts) | collate(packed, packer.pad)


def laid_out(read: list[list[OcrWord]], size: tuple[int, int], packer: Packer, rng: np.random.Generator) -> list[Piece]:
    """OCR lines of a picture of this ``size`` as the prompt stage is given them; at times without marks, as other
    programs would write them."""
    if not packer.marks or rng.random() < UNMARKED:
        return [("ocr", "\n".join(texts(read)))]
    return marked(read, patch_boxes(size))


def _nothing_much(size: tuple[int, int], rng: np.random.Generator) -> list[list[OcrWord]]:
    """What OCR imagines in a picture without text."""
    scraps = ["e", "@", "oO", "|", "A", "--", "V", "4", "Ls", "ee ©", "x"]
    read = []
    for scrap in rng.choice(scraps, int(rng.integers(1, 4))):
        x, y = (int(rng.integers(side)) for side in size)
        read.append(spelled(str(scrap), (x, y, x + 12, y + 10)))
    return read


def loader(dataset: IterableDataset, workers: int) -> DataLoader:
    """Batches from ``workers`` processes of one thread each."""
    return DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=6,
        worker_init_fn=lambda _: torch.set_num_threads(1),
    )
