"""Branches: one picture and several conversations about it → one sequence that a language model reads at once.

The picture is read once (the prefix); each conversation attends to it and to itself, never to another one, and counts
its positions from the prefix's end. So each is trained as if it were asked alone, at a fraction of the cost::

    <|im_start|>user\\n <image> × N \\n │ How many dogs are there?<|im_end|>\\n<|im_start|>assistant\\n 2<|im_end|>
                                       │ Is there a cat?<|im_end|>\\n<|im_start|>assistant\\n no<|im_end|>
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_demo.stages.prompt import EVIDENCE_RULE, OCR_HEADER

IMAGE_TOKEN = "<image>"
# Of an answer's tokens, by the first word of its kind; others weigh 1. One caption says more of a picture than all its
# other answers, and people's questions are few among those that are made of labels and boxes.
WEIGHTS = {"caption": 2.0, "vqa": 3.5, "action": 2.0, "name": 2.0, "count": 2.5}


@dataclass(frozen=True)
class PictureTurns:
    """What is said about one picture.

    Attributes:
        turns: (question, answer) pairs, in order; every answer is trained.
        rule: whether the evidence-only rule stands behind each question.
        ocr: the OCR text before the first question; empty = OCR is off, or read nothing.
        kinds: what each turn teaches.
    """

    turns: tuple[tuple[str, str], ...]
    kinds: tuple[str, ...]
    rule: bool = False
    ocr: str = ""


@dataclass(frozen=True)
class Packed:
    """One picture's sequence; arrays of one length L.

    Attributes:
        ids: token ids, int64.
        positions: position ids, int64.
        branch: 0 for the prefix, 1.. for each conversation.
        weights: float32, the loss weight of predicting this token; 0 = not predicted.
        kinds: the kind of each conversation's turns, in the order of their first predicted tokens.
        turn: int64, which entry of ``kinds`` a predicted token belongs to; -1 elsewhere.
    """

    ids: np.ndarray
    positions: np.ndarray
    branch: np.ndarray
    weights: np.ndarray
    kinds: tuple[str, ...]
    turn: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


class BranchPacker:
    """Writes conversations in the chat template of the embedded models."""

    def __init__(self, tokenizer: Any, image_tokens: int) -> None:
        self.tokenizer, self.image_tokens = tokenizer, image_tokens
        self.image_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self.open_user = self.encode("<|im_start|>user\n")
        self.to_answer = self.encode("<|im_end|>\n<|im_start|>assistant\n")
        self.end, self.newline = self.encode("<|im_end|>"), self.encode("\n")
        self.prefix = [*self.open_user, *[self.image_id] * image_tokens, *self.newline]

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def __call__(self, conversations: Sequence[PictureTurns], longest: int) -> Packed:
        """Pack the conversations that fit into ``longest`` tokens; the first always does.

        OCR text that they have in common is read once, as the picture is.
        """
        read = conversations[0].ocr
        if any(conversation.ocr != read for conversation in conversations):
            raise ValueError("conversations about one picture have one OCR text")
        prefix = [*self.prefix, *self._shared(read, conversations)] if read else self.prefix
        skipped = len(prefix) - len(self.prefix)
        ids, positions = list(prefix), list(range(len(prefix)))
        branch, weights, turn = [0] * len(ids), [0.0] * len(ids), [-1] * len(ids)
        kinds: list[str] = []
        for number, conversation in enumerate(conversations, 1):
            all_ids, all_weights, all_turns = self._written(conversation, len(kinds))
            own_ids, own_weights, own_turn = all_ids[skipped:], all_weights[skipped:], all_turns[skipped:]
            if number > 1 and len(ids) + len(own_ids) > longest:
                continue
            ids += own_ids
            positions += range(len(prefix), len(prefix) + len(own_ids))
            branch += [number] * len(own_ids)
            weights += own_weights
            turn += own_turn
            kinds += conversation.kinds
        return Packed(
            np.array(ids),
            np.array(positions),
            np.array(branch),
            np.array(weights, np.float32),
            tuple(kinds),
            np.array(turn),
        )

    def _shared(self, read: str, conversations: Sequence[PictureTurns]) -> list[int]:
        """The tokens that all conversations begin with, at most those of the OCR text: the last of them may be another
        where a question follows."""
        rows = [self._written(conversation, 0)[0] for conversation in conversations]
        most = min(len(self.encode(f"{OCR_HEADER}\n{read}")), *(len(row) - 1 for row in rows))
        count = next((i for i in range(most) if len({row[i] for row in rows}) > 1), most)
        return rows[0][:count]

    def _written(self, conversation: PictureTurns, first: int) -> tuple[list[int], list[float], list[int]]:
        ids: list[int] = []
        weights: list[float] = []
        turn: list[int] = []
        for i, (question, answer) in enumerate(conversation.turns):
            text = question if not conversation.rule else f"{question}\n{EVIDENCE_RULE}"
            if conversation.ocr and i == 0:
                text = f"{OCR_HEADER}\n{conversation.ocr}\n\n{text}"
            asked = [*([] if i == 0 else [*self.newline, *self.open_user]), *self.encode(text), *self.to_answer]
            answer_ids = [*self.encode(answer), *self.end]
            ids += asked + answer_ids
            # Long answers weigh more, but not in proportion: a caption must not drown twelve words.
            weight = len(answer_ids) ** -0.5 * WEIGHTS.get(conversation.kinds[i].split("-")[0], 1.0)
            weights += [0.0] * len(asked) + [weight] * len(answer_ids)
            turn += [-1] * len(asked) + [first + i] * len(answer_ids)
        return ids, weights, turn


def collate(packed: Sequence[Packed], pad_id: int) -> dict[str, Tensor]:
    """Sequences → one batch, padded at the end.

    Returns:
        ``ids`` and ``positions`` [B, L]; ``mask`` bool [B, 1, L, L], True = may attend; ``at`` [n, 2], the (row, place)
        whose hidden state predicts; ``targets`` and ``weights`` [n].
    """
    length = max(map(len, packed))

    def padded(rows: Sequence[np.ndarray], fill: float) -> Tensor:
        return torch.from_numpy(np.stack([np.pad(row, (0, length - len(row)), constant_values=fill) for row in rows]))

    ids, positions = padded([p.ids for p in packed], pad_id), padded([p.positions for p in packed], 0)
    branch = padded([p.branch for p in packed], -1)
    weights, turn = padded([p.weights for p in packed], 0.0), padded([p.turn for p in packed], -1)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    together = (branch[:, :, None] == branch[:, None, :]) | (branch[:, None, :] == 0)
    mask = (together & causal)[:, None]
    row, place = (weights[:, 1:] > 0).nonzero(as_tuple=True)
    return {
        "ids": ids,
        "positions": positions,
        "mask": mask,
        "at": torch.stack([row, place], 1),
        "targets": ids[row, place + 1],
        "weights": weights[row, place + 1],
        "turn": turn[row, place + 1],
    }
