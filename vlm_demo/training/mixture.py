"""Mixture: folders of annotated pictures → an endless stream of packed training samples.

A folder holds ``img/`` and ``annotations.jsonl``; photographs and drawn pictures have one format. Held-out photographs
(``photos_split``) are never drawn here. Samples depend on a seed and a number alone, so a run resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from vlm_demo.training import json_lines
from vlm_demo.training.branches import BranchPacker, Packed, PictureTurns
from vlm_demo.training.chart_turns import chart_turns
from vlm_demo.training.photo_turns import UNKNOWN, PhotoTurns, TrainingTurn, sentence
from vlm_demo.training.photos_split import PERCENT, held_out

# Share of the pictures, by folder; a folder that is missing gives its share to the others.
SHARES = {
    "coco_train": 18.0, "coco_val2017_people": 9.0, "flickr8k": 2.0, "flickr8k_rest": 7.0, "coco_captions": 1.0,
    "voc2007": 3.5, "stanford40": 5.0, "daquar": 0.5, "caltech101": 3.5, "imagenet": 2.0, "grocery": 2.5,
    "clothing": 1.0, "pacs": 0.6, "chartqa": 16.0,
    "scenes": 10.0, "plain": 4.0, "text": 5.0, "charts": 3.0, "screens": 4.0, "documents": 6.0,
}  # fmt: skip
# The same of a last stage: labels, which few pictures have, are learned in more passes than one; with charts and texts.
LABEL_SHARES = {
    "stanford40": 9.0, "caltech101": 10.0, "imagenet": 2.0, "grocery": 6.0, "clothing": 2.0, "pacs": 1.0,
    "coco_train": 17.0, "coco_val2017_people": 16.0, "voc2007": 12.0, "flickr8k_rest": 2.0, "chartqa": 11.0,
    "text": 6.0, "scenes": 4.0, "documents": 1.0, "screens": 0.5, "plain": 0.5,
}  # fmt: skip
NEEDS_OCR = frozenset({"chartqa"})
CHAT = 0.12  # of the pictures, those with an added chat turn that is not about them
WITH_RULE = 0.15  # of the conversations that can be answered, those asked with the evidence-only rule
CHAINED = 0.2  # of the pictures, those whose single turns become one conversation
MAX_TURNS, MAX_TOKENS = 8, 560  # turns and tokens of a picture
CAPTIONS = 3  # of a picture, at most: they share one picture prefix
MAX_OCR_CHARACTERS = 700  # of OCR text; the context of the shipped model holds far more
NUMBER_WORDS = {word: str(i) for i, word in enumerate(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty".split())}  # fmt: skip
SHARPENED = 0.4  # of the photographs
HELD_EVERY, MOST_HELD = 10, 1000  # of the first so many drawn pictures of a kind every tenth is held out
GREY = (127, 127, 127)  # what the image processor of EfficientNet-Lite pads with: its mean


@dataclass(frozen=True)
class Sample:
    """One picture.

    Attributes:
        pixels: uint8 [side, side, 3].
        packed: its conversations.
        folder: the name of the folder it is from.
        item: its annotation.
        boxes: (name, left, top, right, bottom) of what is boxed in it, 0..1 over ``pixels``.
    """

    pixels: np.ndarray
    packed: Packed
    folder: str
    item: Mapping[str, Any] = field(default_factory=dict)
    boxes: Sequence[tuple[str, float, float, float, float]] = ()


class Folder:
    """One folder of annotated pictures; ``held`` = its held-out part instead of the trained one."""

    def __init__(self, path: Path, held: bool = False, ocr: Path | None = None) -> None:
        self.path, self.name = path, path.name
        items = json_lines.read(path / "annotations.jsonl")
        # The OCR text of photographs, whose annotations lack it, is stored with the drawn pictures.
        ocr_lines = {item["image"]: item["ocr"] for item in json_lines.read(ocr)} if ocr else {}
        items = [item | {"ocr": ocr_lines[item["image"]]} if item["image"] in ocr_lines else item for item in items]
        if self.name in NEEDS_OCR:
            items = [item for item in items if "ocr" in item]
        if self.name in PERCENT:
            self.items = [item for item in items if held_out(self.name, item["image"]) == held]
        else:  # drawn pictures, by their number, so that it stays the same while more are drawn
            self.items = [item for n, item in enumerate(items) if (n < MOST_HELD and n % HELD_EVERY == 0) == held]
        self.turns = PhotoTurns(self.items) if self.name in PERCENT else None

    def conversations(
        self, item: Mapping[str, Any], rng: np.random.Generator, described: bool = True
    ) -> tuple[list[PictureTurns], bool]:
        """The conversations about an item, and whether they stay true when the picture is flipped.

        Args:
            described: whether photographs about which there is something else to ask are described too.
        """
        turns = drawn_turns(item) if self.turns is None else self.turns(item, self.name, rng)
        if self.turns is not None and not described:
            turns = [turn for turn in turns if turn.kind != "caption"] or turns
        if self.name in NEEDS_OCR:
            turns = [*turns, *chart_turns(item["ocr"], rng)]
        chosen = _chosen(turns, rng)
        ocr_lines, ocr = item.get("ocr"), ""
        if ocr_lines:
            ocr = "\n".join(fitting_lines(ocr_lines, [answer for turn in chosen for answer in _answers(turn)], rng))
        conversations = [_conversation(turn, ocr, rng) for turn in chosen]
        if len(conversations) > 2 and rng.random() < CHAINED:
            conversations = _chained(conversations, rng)
        mirrored = self.turns is not None and not ocr and all(turn.mirrored for turn in chosen)
        return conversations, mirrored


class Mixture:
    """Samples of all folders in their shares.

    Args:
        roots: folders that hold the folders named in SHARES; one of them may have ``ocr/NAME.jsonl``, the OCR text, and
            ``chat.jsonl``, turns about no picture.
        packer: tokenizes and packs the conversations.
        side: pixels of the square that the picture is padded and resized to.
        held: the held-out part instead of the trained one.
        fill: the padding colour, the image processor's mean.

    Attributes:
        describes_photos: whether photographs about which there is something else to ask are described too.
    """

    describes_photos = True

    def __init__(
        self,
        roots: Sequence[Path],
        packer: BranchPacker,
        side: int,
        held: bool = False,
        shares: Mapping[str, float] = SHARES,
        fill: tuple[int, ...] = GREY,
    ) -> None:
        self.packer, self.side, self.held, self.fill = packer, side, held, fill
        paths = {
            name: root / name for root in roots for name in shares if (root / name / "annotations.jsonl").is_file()
        }
        ocr = {name: root / "ocr" / f"{name}.jsonl" for root in roots for name in NEEDS_OCR if (root / "ocr").is_dir()}
        self.folders = {name: Folder(path, held, ocr.get(name)) for name, path in paths.items()}
        self.chat = [turn for root in roots for item in json_lines.read(root / "chat.jsonl") for turn in item["qa"]]
        self.names = [name for name, folder in self.folders.items() if folder.items]
        self.share_out(shares)

    def share_out(self, shares: Mapping[str, float]) -> None:
        """Take the pictures in other shares from now on; a folder that has none gives no more."""
        share = np.array([shares.get(name, 0.0) for name in self.names])
        self.share = share / share.sum()

    def sample(self, seed: int, number: int) -> Sample:
        """The sample of this number; reproducible for the same folders."""
        rng = np.random.default_rng([seed, number])
        while True:
            folder = self.folders[self.names[int(rng.choice(len(self.names), p=self.share))]]
            item = folder.items[int(rng.integers(len(folder.items)))]
            conversations, mirrored = folder.conversations(item, rng, self.describes_photos)
            if conversations:
                break
        if self.chat and not self.held and rng.random() < CHAT:
            question, answer = self.chat[int(rng.integers(len(self.chat)))]
            conversations.insert(1, PictureTurns(((question, answer),), ("chat",), ocr=conversations[0].ocr))
        packed = self.packer(conversations, MAX_TOKENS)
        photo = folder.turns is not None and folder.name != "chartqa"
        flip = mirrored and photo and rng.random() < 0.5 and not self.held
        crop = float(rng.uniform(0.9, 1.0)) if photo and not self.held and "boxes" not in item else 1.0
        sharpen = photo and not self.held and rng.random() < SHARPENED
        file = folder.path / item["image"]
        pixels = load_pixels(file, self.side, flip, crop, rng, self.fill, sharpen)
        return Sample(pixels, packed, folder.name, item, square_boxes(file, item.get("boxes", ()), flip))


def square_boxes(
    file: Path, boxes: Sequence[Sequence[Any]], flip: bool
) -> list[tuple[str, float, float, float, float]]:
    """Boxes (name, left, top, width, height) over a picture → (name, left, top, right, bottom) over the square that
    ``load_pixels`` makes of it uncropped; both 0..1."""
    if not boxes:
        return []
    with Image.open(file) as opened:
        width, height = (edge / max(opened.size) for edge in opened.size)
    moved = []
    for name, left, top, box_width, box_height in boxes:
        start = 1 - left - box_width if flip else left
        x, y = (1 - width) / 2 + start * width, (1 - height) / 2 + top * height
        moved.append((str(name), x, y, x + box_width * width, y + box_height * height))
    return moved


def load_pixels(
    path: Path,
    side: int,
    flip: bool,
    crop: float,
    rng: np.random.Generator,
    fill: tuple[int, ...] = GREY,
    sharpen: bool = False,
) -> np.ndarray:
    """A picture as the image processor returns it, before normalization: uint8 [side, side, 3], padded to a square.

    Args:
        crop: the share of each side that is kept, at a random place.
        sharpen: restore sharpness that was lost when the picture was stored small; uploads are larger and sharper.
    """
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    if crop < 1:
        width, height = round(image.width * crop), round(image.height * crop)
        x, y = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
        image = image.crop((x, y, x + width, y + height))
    if flip:
        image = ImageOps.mirror(image)
    scale = side / max(image.size)
    image = image.resize([max(1, round(edge * scale)) for edge in image.size], Image.Resampling.BILINEAR)
    if sharpen:
        image = sharpened(image, rng)
    square = Image.new("RGB", (side, side), fill)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.asarray(square)


def sharpened(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A picture that was stored small, about as sharp as an upload."""
    return image.filter(ImageFilter.UnsharpMask(float(rng.uniform(0.8, 2.0)), int(rng.integers(60, 180)), 0))


def fitting_lines(lines: Sequence[str], answers: Sequence[str], rng: np.random.Generator) -> list[str]:
    """OCR lines of at most MAX_OCR_CHARACTERS together, in their order; lines that an answer is copied from stay."""
    copied = [answer.lower() for answer in answers if len(answer) > 1]
    needed = [any(part in line.lower() for answer in copied for part in answer.split("\n")) for line in lines]
    keep = set(range(len(lines)))
    for i in rng.permutation(len(lines)):
        if sum(len(lines[j]) + 1 for j in keep) <= MAX_OCR_CHARACTERS:
            break
        if not needed[i]:
            keep.discard(int(i))
    return [lines[i] for i in sorted(keep)]


def _answers(turn: TrainingTurn) -> list[str]:
    return [turn.answer, *(answer for _, answer in turn.follow)]


def drawn_turns(item: Mapping[str, Any]) -> list[TrainingTurn]:
    """The turns of a drawn picture's annotation."""
    turns = [TrainingTurn("Describe the picture.", sentence(text), "caption") for text in item.get("captions", ())]
    for question, answer in item.get("qa", ()):
        answer = _digits(question, answer)
        words = answer.lower()
        kind = f"drawn-{words}" if words in ("yes", "no", "true", "false") else "drawn"
        turns.append(TrainingTurn(question, answer, kind))
    turns += [TrainingTurn(question, UNKNOWN, "unknown", rule=True) for question, _ in item.get("unanswerable", ())]
    for follow in item.get("follow", ()):
        (question, answer), *others = [(text, _digits(text, reply)) for text, reply in follow]
        turns.append(TrainingTurn(question, answer, "drawn", follow=tuple(others)))
    return turns


def _digits(question: str, answer: str) -> str:
    """Small numbers as digits, as people answer "How many …?"."""
    return NUMBER_WORDS.get(answer.lower(), answer)


def _chosen(turns: Sequence[TrainingTurn], rng: np.random.Generator) -> list[TrainingTurn]:
    """Some of the turns: up to CAPTIONS captions, few of each kind, as many no as yes, and at most one about something
    absent."""
    order = [turns[i] for i in rng.permutation(len(turns))]
    limits = {
        "caption": CAPTIONS,
        "unknown": 1,
        "absent": 0,
        "presence-yes": 2,
        "presence-no": 2,
        "count": 3,
        "colour": 2,
    }
    if rng.random() < 0.25:  # with the rule or without, rarely both for one picture
        limits |= {"unknown": 0, "absent": 1 if rng.random() < 0.4 else 0}
    counts: dict[str, int] = {}
    chosen: list[TrainingTurn] = []
    for turn in order:
        if counts.get(turn.kind, 0) < limits.get(turn.kind, 6) and len(chosen) < MAX_TURNS:
            counts[turn.kind] = counts.get(turn.kind, 0) + 1
            chosen.append(turn)
    # Captions are a picture's richest answers: they are always chosen.
    captions = [turn for turn in order if turn.kind == "caption"][:CAPTIONS]
    others = [turn for turn in chosen if turn.kind != "caption"]
    chosen = captions + others[: MAX_TURNS - len(captions)]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def _conversation(turn: TrainingTurn, ocr: str, rng: np.random.Generator) -> PictureTurns:
    # The app adds the rule to the current question alone, so longer conversations are trained without it.
    rule = turn.rule if turn.rule is not None else not turn.follow and bool(rng.random() < WITH_RULE)
    question = turn.question
    turns = ((question, turn.answer), *turn.follow)
    return PictureTurns(turns, (turn.kind, *["follow"] * len(turn.follow)), rule, ocr)


def _chained(conversations: Sequence[PictureTurns], rng: np.random.Generator) -> list[PictureTurns]:
    """Some plain conversations of a picture merged into one with several turns, the others unchanged."""
    plain = [sample for sample in conversations if not sample.rule and len(sample.turns) == 1]
    if len(plain) < 2:
        return list(conversations)
    plain = plain[: int(rng.integers(2, 4))]
    turns = tuple(turn for sample in plain for turn in sample.turns)
    kinds = tuple(kind for sample in plain for kind in sample.kinds)
    rest = [sample for sample in conversations if all(sample is not other for other in plain)]
    return [PictureTurns(turns, kinds, False, plain[0].ocr), *rest]
