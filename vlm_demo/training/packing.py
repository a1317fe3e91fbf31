"""Packing: one picture and many questions about it → one sequence in which each question sees only the picture.

    <s> <|user|> ⟨image⟩ × N  [Text in the picture: …]     block 0, seen by all
        question <|assistant|> answer </s>                  block 1, sees 0 and itself
        question <|assistant|> answer </s>                  block 2, sees 0 and itself

Positions of every block go on from the end of block 0, so each question is placed as if it were alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from vlm_demo.stages.prompt import EVIDENCE_RULE, OCR_HEADER
from vlm_demo.synthetic.questions import Question

IGNORED = -100


@dataclass(frozen=True)
class Packed:
    """int64 arrays [length]; ``labels`` holds the token that each position must produce, or IGNORED; ``weights`` is
    float32, one over the root of the answer's length, so that a long caption does not outweigh many short answers."""

    ids: np.ndarray
    positions: np.ndarray
    blocks: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


class Packer:
    """Packs questions with one tokenizer for pictures of ``image_tokens`` tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, image_tokens: int) -> None:
        self.tokenizer, self.image_tokens = tokenizer, image_tokens
        of = tokenizer.convert_tokens_to_ids
        self.bos, self.eos = of("<s>"), of("</s>")
        self.user, self.assistant, self.image = of("<|user|>"), of("<|assistant|>"), of("<image>")

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text: special tokens in it are spelled out."""
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids

    def pack(self, questions: list[Question], read: list[str] | None, rng: np.random.Generator) -> Packed:
        """Pack the questions of one picture; about two in five carry the evidence-only rule, one in eight follows
        another as the second turn of a chat."""
        prefix = [self.bos, self.user] + [self.image] * self.image_tokens
        if read is not None:
            prefix += self.encode(f"{OCR_HEADER}\n" + "\n".join(read) + "\n\n")
        ids, blocks = list(prefix), [0] * len(prefix)
        positions = list(range(len(prefix)))
        labels = [IGNORED] * len(prefix)
        weights = [0.0] * len(prefix)
        block = 0
        for number, question in enumerate(questions):
            follows = number > 0 and rng.random() < 0.125
            ruled = rng.random() < (0.5 if question.guess is not None else 0.4)
            text = question.text + (f"\n{EVIDENCE_RULE}" if ruled else "")
            answer = question.answer if ruled or question.guess is None else question.guess
            asked = ([self.user] if follows else []) + self.encode(text) + [self.assistant]
            said = self.encode(answer) + [self.eos]
            if not follows:
                block += 1
                at = len(prefix)
            ids += asked + said
            blocks += [block] * (len(asked) + len(said))
            positions += range(at, at + len(asked) + len(said))
            at += len(asked) + len(said)
            labels += [IGNORED] * (len(asked) - 1) + said + [IGNORED]
            weights += [0.0] * (len(asked) - 1) + [len(said) ** -0.5] * len(said) + [0.0]
        whole = (np.array(ids), np.array(positions), np.array(blocks), np.array(labels))
        return Packed(*whole, np.array(weights, dtype=np.float32))


def collate(packed: list[Packed], pad: int) -> dict[str, Tensor]:
    """Pad to the longest: ids, positions, blocks (-1 = padding), labels [B, L] and weights [B, L]."""
    longest = max(len(p.ids) for p in packed)

    def stack(name: str, fill: float) -> Tensor:
        rows = [np.pad(getattr(p, name), (0, longest - len(p.ids)), constant_values=fill) for p in packed]
        return torch.from_numpy(np.stack(rows))

    return {
        "ids": stack("ids", pad),
        "positions": stack("positions", 0),
        "blocks": stack("blocks", -1),
        "labels": stack("labels", IGNORED),
        "weights": stack("weights", 0),
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
