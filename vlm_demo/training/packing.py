"""Packing: one picture and many questions about it → one sequence in which each question sees only the picture.

    <s> <|user|> ⟨image⟩ × N  [Text in the picture: …]     block 0, seen by all
        question <|assistant|> answer </s>                  block 1, sees 0 and itself
        question <|assistant|> answer </s>                  block 2, sees 0 and itself

Positions of every block go on from the end of block 0, so each question is placed as if it were alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from vlm_demo.stages.prompt import EVIDENCE_RULE, OCR_HEADER
from vlm_demo.synthetic.asking import Question
from vlm_demo.synthetic.questions import fill
from vlm_demo.training.focus import KINDS, NO_KIND
from vlm_demo.training.gaze import AIMS, FIRST_PATCH, HALVES, THIRDS, Gaze
from vlm_demo.training.ocr_marks import MARK, Piece, marks
from vlm_demo.training.patches import Places
from vlm_demo.training.source import Source

IGNORED = -100


@dataclass(frozen=True)
class Packed:
    """int64 arrays [length]; ``labels`` holds the token that each position must produce, or IGNORED; ``weights`` is
    float32, one over the root of the answer's length, so that a long caption does not outweigh many short answers;
    ``gaze`` holds where its positions shall look; ``answers`` the kind of each answer, "" for one that is not followed
    (`focus.py`), and how many labels it has."""

    ids: np.ndarray
    positions: np.ndarray
    blocks: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    gaze: Gaze
    answers: list[tuple[str, int]]


class Packer:
    """Packs questions with one tokenizer for pictures of ``image_tokens`` tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, image_tokens: int) -> None:
        self.backend, self.image_tokens = copy.deepcopy(tokenizer.backend_tokenizer), image_tokens
        self.backend.encode_special_tokens = True
        of = tokenizer.convert_tokens_to_ids
        self.bos, self.eos, self.pad = of("<s>"), of("</s>"), of("<pad>")
        self.marks = {MARK.format(patch): patch for patch in range(marks(tokenizer))}
        kept = {*tokenizer.all_special_ids, *(of(mark) for mark in self.marks)}
        self.plain = [i for i in range(len(tokenizer)) if i not in kept]
        self.user, self.assistant, self.image = of("<|user|>"), of("<|assistant|>"), of("<image>")

    def encode(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids of plain text (special tokens in it are spelled out), and at which character each begins."""
        coded = self.backend.encode(text, add_special_tokens=False)
        return coded.ids, [begin for begin, _ in coded.offsets]

    def pack(
        self,
        questions: list[Question],
        read: Sequence[Piece] | None,
        rng: np.random.Generator,
        places: Places | None = None,
    ) -> Packed:
        """Pack the questions of one picture; one in four carries the evidence-only rule (of the unanswerable ones one
        in two), one in eight follows another as the second turn of a chat, and so do those made to follow.

        Args:
            read: the OCR text in the pieces that `ocr_marks.marked` makes; None = no OCR.
            places: where the picture's things are; None = there is no picture.
        """
        prefix = [self.bos, self.user] + [self.image] * self.image_tokens
        gaze: Gaze = {name: [] for name in AIMS}
        source = Source("", [], 0, {})
        if read is not None:
            coded, source = self._source(read, len(prefix))
            source.gaze(gaze)
            if places is not None:
                source.places(gaze)
                source.labels(gaze, places)
            prefix += coded
        ids, blocks = list(prefix), [0] * len(prefix)
        positions = list(range(len(prefix)))
        labels = [IGNORED] * len(prefix)
        weights = [0.0] * len(prefix)
        answers: list[tuple[str, int]] = []
        block, at = 0, len(prefix)
        for question, follows in _turns(questions, rng):
            ruled = rng.random() < (0.5 if question.guess is not None else 0.25)
            text = question.text + (f"\n{EVIDENCE_RULE}" if ruled else "")
            answer = question.answer if ruled or question.guess is None else question.guess
            words, starts = self.encode(text)
            lead = [self.user] if follows else []
            asked = lead + words + [self.assistant]
            coded, begins = self.encode(answer)
            said = [*coded, self.eos]
            answers.append((question.kind if question.guess is None else "", len(said)))
            if not follows:
                block += 1
                at = len(prefix)
            first = len(ids) + len(asked) - 1  # the position that produces the answer's first token
            gaze["previous"] += [(first + 1 + i, 0, first + i) for i in range(len(coded))]
            by_name = source.named(gaze, question, starts, len(ids) + len(lead), places)
            gaze["asked"] += [(first + i, 0, name) for i in range(len(said)) for name in by_name]
            if question.copied and answer == question.answer:
                gaze["source"] += source.pointers(answer, question.copied, begins, first)
            if places is not None:
                _look(gaze, question, answer, begins, first, places, bool(by_name))
            ids += asked + said
            blocks += [block] * (len(asked) + len(said))
            positions += range(at, at + len(asked) + len(said))
            at += len(asked) + len(said)
            labels += [IGNORED] * (len(asked) - 1) + said + [IGNORED]
            weights += [0.0] * (len(asked) - 1) + [len(said) ** -0.5] * len(said) + [0.0]
        return _packed(ids, positions, blocks, labels, weights, gaze, answers)

    def _source(self, read: Sequence[Piece], start: int) -> tuple[list[int], Source]:
        """The tokens of OCR text, whose first is to stand at ``start``, and what is known of them."""
        coded: list[int] = []
        begins: list[int] = []
        marks: dict[int, int] = {}
        text = ""
        for kind, part in [("ocr", f"{OCR_HEADER}\n"), *read, ("ocr", "\n\n")]:
            if kind == "place":
                text += " " if text and not text.endswith("\n") else ""
                marks[len(coded)] = self.marks[part]
                coded.append(self.backend.token_to_id(part))
                begins.append(len(text))
                continue
            ids, starts = self.encode(part)
            coded += ids
            begins += [len(text) + begin for begin in starts]
            text += part
        return coded, Source(text, begins, start, marks)

    def exercise(self, length: int, rng: np.random.Generator) -> Packed:
        """``length`` random tokens as OCR text, to be repeated: each word of the vocabulary is copied alike, which
        receipts, with their few words, do not teach."""
        tokens = [int(i) for i in rng.choice(self.plain, length)]
        before = [self.bos, self.user, *self.encode(f"{OCR_HEADER}\n")[0]]
        after = self.encode("\n\n")[0]
        asked = [*self.encode(fill("transcript", {}, rng, held_out=False))[0], self.assistant]
        ids = [*before, *tokens, *after, *asked, *tokens, self.eos]
        start, first = len(before), len(before) + length + len(after) + len(asked) - 1
        gaze: Gaze = {name: [] for name in AIMS}
        gaze["previous"] = [(i, 0, i - 1) for at in (start, first + 1) for i in range(at, at + length)]
        gaze["source"] = [(first + i, 0, start + i) for i in range(length)]
        labels = [IGNORED] * first + [*tokens, self.eos, IGNORED]
        weights = [0.0] * first + [(length + 1) ** -0.5] * (length + 1) + [0.0]
        positions, blocks = list(range(len(ids))), [0] * len(ids)
        return _packed(ids, positions, blocks, labels, weights, gaze, [("", length + 1)])


def _packed(
    ids: list[int],
    positions: list[int],
    blocks: list[int],
    labels: list[int],
    weights: list[float],
    gaze: Gaze,
    answers: list[tuple[str, int]],
) -> Packed:
    weighted = np.array(weights, dtype=np.float32)
    return Packed(np.array(ids), np.array(positions), np.array(blocks), np.array(labels), weighted, gaze, answers)


def _turns(questions: list[Question], rng: np.random.Generator) -> list[tuple[Question, bool]]:
    """The questions in order, each with whether it goes on with the chat of the one before."""
    turns = []
    for number, question in enumerate(questions):
        turns.append((question, number > 0 and rng.random() < 0.125))
        if question.follow:
            turns.append((question.follow, True))
    return turns


def _look(
    gaze: Gaze,
    question: Question,
    answer: str,
    begins: list[int],
    first: int,
    places: Places,
    by_name: bool,
) -> None:
    """Add where the answer's steps look in the picture; ``by_name`` = the question holds a printed name.

    Of an answer that is a guess nothing is known but that the thing is absent.
    """
    before: tuple[int, ...] | None = None
    for number, (start, things) in enumerate(question.looks):
        end = question.looks[number + 1][0] if number + 1 < len(question.looks) else len(answer)
        steps = [first + i for i, begin in enumerate(begins) if start <= begin < end]
        for aim, those in (("things", things if before is None else before), ("again", things))[by_name:]:
            shown = [patch + FIRST_PATCH for thing in those for patch in places.patches(thing)] or [0]
            gaze[aim] += [(step, 0, at) for step in steps for at in shown]
        before = things
    if question.looks and not by_name:
        steps = [first + i for i, _ in enumerate(begins)]
        for axis, aims in enumerate((THIRDS, HALVES)):
            for zone, aim in enumerate(aims):
                there = [thing for thing in question.counted if places.zones[thing][axis] == zone]
                parts = [[0], *([spot + FIRST_PATCH for spot in places.spots[thing]] for thing in there)]
                gaze[aim] += [(step, part, at) for step in steps for part, spots in enumerate(parts) for at in spots]


def collate(packed: list[Packed], pad: int) -> dict[str, Tensor]:
    """Pad to the longest: ids, positions, blocks (-1 = padding), labels [B, L] and weights [B, L]; for each answer in
    turn its kind (a number of KINDS) and its length, [n]; and for each of AIMS int64 [n, 4], rows of (sequence,
    position, part, where it shall look), sorted."""
    longest = max(len(p.ids) for p in packed)
    answers = [answer for p in packed for answer in p.answers]

    def stack(name: str, fill: float) -> Tensor:
        rows = [np.pad(getattr(p, name), (0, longest - len(p.ids)), constant_values=fill) for p in packed]
        return torch.from_numpy(np.stack(rows))

    return {
        "ids": stack("ids", pad),
        "positions": stack("positions", 0),
        "blocks": stack("blocks", -1),
        "labels": stack("labels", IGNORED),
        "weights": stack("weights", 0),
        "kinds": torch.tensor([KINDS.get(kind, NO_KIND) for kind, _ in answers], dtype=torch.int64),
        "lengths": torch.tensor([length for _, length in answers], dtype=torch.int64),
    } | {
        name: torch.tensor(
            [(number, *row) for number, p in enumerate(packed) for row in sorted(p.gaze[name])], dtype=torch.int64
        ).reshape(-1, 4)
        for name in AIMS
    }


def block_mask(blocks: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive mask [B, 1, L, L] from block numbers [B, L]: earlier tokens of block 0 and of one's own block."""
    length = blocks.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=blocks.device).tril()
    query, key = blocks[:, :, None], blocks[:, None, :]
    allowed = earlier & ((key == 0) | (key == query))
    allowed |= torch.eye(length, dtype=torch.bool, device=blocks.device)
    mask = torch.zeros(allowed.shape, dtype=dtype, device=blocks.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]
