"""Branches: one picture and several conversations about it → one sequence for a single forward pass.

The picture is the shared prefix; each conversation attends to it and to itself, never to another one, and counts its
positions from the prefix's end. So each is trained as if it were alone, at a fraction of the cost::

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
HIDDEN = -1e30  # added to the attention score of a key that a query may not attend to
# Loss weight of an answer's tokens, by the first word of its kind; others weigh 1. One caption describes more of a
# picture than all its other answers, and human questions are few among those made from labels and boxes.
WEIGHTS = {"caption": 2.0, "vqa": 3.5, "action": 2.0, "name": 2.0, "count": 4.0}


@dataclass(frozen=True)
class PictureTurns:
    """One conversation about a picture.

    Attributes:
        turns: (question, answer) pairs, in order; every answer is trained.
        rule: whether the evidence-only rule follows each question.
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
    """Tokenizes conversations in the chat template of the embedded models, and packs them."""

    def __init__(self, tokenizer: Any, image_tokens: int) -> None:
        self.tokenizer, self.image_tokens = tokenizer, image_tokens
        self.image_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self.open_user = self.encode("<|im_start|>user\n")
        self.to_answer = self.encode("<|im_end|>\n<|im_start|>assistant\n")
        self.end, self.newline = self.encode("<|im_end|>"), self.encode("\n")
        self.prefix = [*self.open_user, *[self.image_id] * image_tokens, *self.newline]

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def __call__(self, conversations: Sequence[PictureTurns], max_length: int) -> Packed:
        """Pack the conversations that fit into ``max_length`` tokens; the first is always packed.

        OCR text that they have in common belongs to the shared prefix, as the picture does.
        """
        ocr_text = conversations[0].ocr
        if any(conversation.ocr != ocr_text for conversation in conversations):
            raise ValueError("conversations about one picture have one OCR text")
        prefix = [*self.prefix, *self._common_prefix(ocr_text, conversations)] if ocr_text else self.prefix
        skipped = len(prefix) - len(self.prefix)
        ids, positions = list(prefix), list(range(len(prefix)))
        branch, weights, turn = [0] * len(ids), [0.0] * len(ids), [-1] * len(ids)
        kinds: list[str] = []
        for number, conversation in enumerate(conversations, 1):
            all_ids, all_weights, all_turns = self._tokenized(conversation, len(kinds))
            branch_ids, branch_weights, branch_turns = all_ids[skipped:], all_weights[skipped:], all_turns[skipped:]
            if number > 1 and len(ids) + len(branch_ids) > max_length:
                continue
            ids += branch_ids
            positions += range(len(prefix), len(prefix) + len(branch_ids))
            branch += [number] * len(branch_ids)
            weights += branch_weights
            turn += branch_turns
            kinds += conversation.kinds
        return Packed(
            np.array(ids),
            np.array(positions),
            np.array(branch),
            np.array(weights, np.float32),
            tuple(kinds),
            np.array(turn),
        )

    def _common_prefix(self, ocr_text: str, conversations: Sequence[PictureTurns]) -> list[int]:
        """The tokens that all conversations start with, at most those of the OCR text, whose last one may be tokenized
        differently before a question."""
        rows = [self._tokenized(conversation, 0)[0] for conversation in conversations]
        limit = min(len(self.encode(f"{OCR_HEADER}\n{ocr_text}")), *(len(row) - 1 for row in rows))
        count = next((i for i in range(limit) if len({row[i] for row in rows}) > 1), limit)
        return rows[0][:count]

    def _tokenized(self, conversation: PictureTurns, first_turn: int) -> tuple[list[int], list[float], list[int]]:
        ids: list[int] = []
        weights: list[float] = []
        turn: list[int] = []
        for i, (question, answer) in enumerate(conversation.turns):
            text = question if not conversation.rule else f"{question}\n{EVIDENCE_RULE}"
            if conversation.ocr and i == 0:
                text = f"{OCR_HEADER}\n{conversation.ocr}\n\n{text}"
            prompt_ids = [*([] if i == 0 else [*self.newline, *self.open_user]), *self.encode(text), *self.to_answer]
            answer_ids = [*self.encode(answer), *self.end]
            ids += prompt_ids + answer_ids
            # Long answers weigh more, but less than in proportion: a caption must not outweigh twelve short answers.
            weight = len(answer_ids) ** -0.5 * WEIGHTS.get(conversation.kinds[i].split("-")[0], 1.0)
            weights += [0.0] * len(prompt_ids) + [weight] * len(answer_ids)
            turn += [-1] * len(prompt_ids) + [first_turn + i] * len(answer_ids)
        return ids, weights, turn


def collate(packed: Sequence[Packed], pad_id: int) -> dict[str, Tensor]:
    """Sequences → one batch, padded at the end.

    Returns:
        ``ids`` and ``positions`` [B, L]; ``mask`` float32 [B, 1, L, L], added to attention scores: 0 = may attend, else
        HIDDEN; ``at`` [n, 2], the (row, place) whose hidden state predicts; ``targets`` and ``weights`` [n].
    """
    length = max(map(len, packed))

    def padded(rows: Sequence[np.ndarray], fill: float) -> Tensor:
        return torch.from_numpy(np.stack([np.pad(row, (0, length - len(row)), constant_values=fill) for row in rows]))

    ids, positions = padded([p.ids for p in packed], pad_id), padded([p.positions for p in packed], 0)
    branch = padded([p.branch for p in packed], -1)
    weights, turn = padded([p.weights for p in packed], 0.0), padded([p.turn for p in packed], -1)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    visible = (branch[:, :, None] == branch[:, None, :]) | (branch[:, None, :] == 0)
    mask = torch.zeros(visible.shape).masked_fill(~(visible & causal), HIDDEN)[:, None]
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
