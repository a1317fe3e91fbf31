"""Projectors: LLaVA's two-layer MLP against the linear one, each trained alone between the same frozen encoder and
language model on the same pictures, and judged on the same unseen pictures."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import torch

from vlm_demo.training import llava, shared
from vlm_demo.training.data import QuestionBatches, loader
from vlm_demo.training.packing import IGNORED
from vlm_demo.training.patches import PatchHead
from vlm_demo.training.words import PatchWords

JUDGED = 60  # batches


def compare(runs: Path, steps: int, seed: int, device: str, workers: int, start: Path) -> dict[str, dict[str, float]]:
    """For each of `llava.BRIDGES` what it cost and how well it does after so many ``steps``.

    Args:
        runs: each gets a folder in it.
        start: the exported LLaVA whose encoder and language model stand still.
    Returns:
        trainable parameters, pictures (``examples``), answer ``tokens``, those ``correct``, their share ``right`` and
        the mean ``loss`` of the batches.
    """
    found = {}
    for bridge in llava.BRIDGES:
        own = runs / f"projector-{bridge}"
        options = (0.0, seed, device, workers, False, start, ("align",))
        done = llava.train(own, *options, bridge=bridge, steps=steps)["align"]
        model, tokenizer = llava.load_latest(own, seed)
        shared.ready(model, device)
        head = PatchHead(model.config.vision_config.hidden_size).to(device)
        words = PatchWords.of(tokenizer, device)
        batches = loader(QuestionBatches(seed + 100, 0, tokenizer, runs, blind=False), 1)
        tokens, correct, losses = 0, 0.0, []
        for batch in islice(batches, JUDGED):
            with torch.no_grad():
                told = llava.answer_loss(batch, model, head, words, "align", device)
            count = int((batch["labels"] != IGNORED).sum())
            tokens, correct = tokens + count, correct + float(told["right"]) * count
            losses.append(float(told["answers"]))
        found[bridge] = {
            "trainable": done["trainable"],
            "examples": done["examples"],
            "tokens": tokens,
            "correct": round(correct),
            "right": correct / tokens,
            "loss": sum(losses) / len(losses),
        }
    return found
