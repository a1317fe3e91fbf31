"""Self-critical training: sampled captions are scored by CIDEr-D, and the better of a picture's grow likelier.

Rennie et al. 2017, https://arxiv.org/abs/1612.00563, with the mean score of a picture's other samples as the baseline
of each (Luo 2020, https://arxiv.org/abs/2003.09971). Every step has a batch of the mixture as well, so that nothing
else is forgotten. A sentence that doesn't end, or isn't written as one, scores 0; its end counts as a word, since what
stops short ("a man riding a") scores well without.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlm_demo.evaluation.cider import References
from vlm_demo.training.branches import BranchPacker, PictureTurns
from vlm_demo.training.lora import merged_for_inference
from vlm_demo.training.mixture import Mixture, Sample, load_pixels
from vlm_demo.training.photo_turns import DESCRIBE

PICTURES, CAPTIONS = 8, 5  # a step; sampled captions of each picture
MAX_CAPTION_TOKENS, MAX_PICTURE_TOKENS = 28, 10_000  # tokens of a sampled caption; of a picture with all its captions
RATE, WARM_UP, COOL_DOWN = 2e-4, 20, 0.3  # as in ``finetune``
END = " sentence-end"


class CaptionedPictures:
    """The pictures of a mixture that people described, and how well a sentence agrees with them.

    Args:
        data: its photographs with at least three captions are taken.
    """

    def __init__(self, data: Mixture) -> None:
        self.side, self.fill = data.side, data.fill
        self.files, captions = [], []
        for folder in data.folders.values():
            for item in folder.items if folder.turns is not None else []:
                if len(item.get("captions", ())) >= 3:
                    self.files.append(folder.path / item["image"])
                    captions.append([text + END for text in item["captions"]])
        self.references = References(captions)

    def pixels(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """uint8 [side, side, 3], cropped a little at random."""
        return load_pixels(self.files[index], self.side, False, float(rng.uniform(0.9, 1.0)), rng, self.fill)

    def score(self, index: int, caption: str, ended: bool) -> float:
        """The CIDEr-D of a caption, 0..10; 0 for what is no sentence."""
        if not ended or not caption[:1].isupper() or not caption.endswith("."):
            return 0.0
        return self.references.score(index, caption + END)


@torch.no_grad()
def sampled(
    parts: Any, tokens: Tensor, prompt_ids: Sequence[int], end: int, samples: int, max_tokens: int
) -> list[list[int]]:
    """Sample answers to one question about several pictures, at temperature 1.

    Args:
        tokens: image tokens [B, N, d].
        prompt_ids: token ids of the prompt, with N image placeholders.
        end: the id that ends an answer.
    Returns:
        B · samples rows of at most ``max_tokens`` ids, a picture's rows adjacent; without ``end`` where it was not
        reached.
    """
    model, image_id = parts.llm.model, parts.tokenizer.convert_tokens_to_ids("<image>")
    ids = torch.tensor([list(prompt_ids)] * len(tokens))
    embedded = model.embed_tokens(ids).masked_scatter((ids == image_id)[..., None], tokens)
    attention = parts.llm.config._attn_implementation
    parts.llm.set_attn_implementation("sdpa")  # of lengths that differ between queries and keys
    try:
        with torch.compiler.set_stance("force_eager"), merged_for_inference(parts.lora.values()):
            output = model(inputs_embeds=embedded, use_cache=True)
            cache, hidden = output.past_key_values, output.last_hidden_state[:, -1]
            cache.batch_repeat_interleave(samples)
            hidden = hidden.repeat_interleave(samples, 0)
            sampled_ids = torch.empty(len(hidden), 0, dtype=torch.long)
            done = torch.zeros(len(hidden), dtype=torch.bool)
            for _ in range(max_tokens):
                next_ids = torch.multinomial(parts.llm.lm_head(hidden).float().softmax(-1), 1)
                next_ids[done] = end
                sampled_ids = torch.cat([sampled_ids, next_ids], 1)
                done |= next_ids[:, 0] == end
                if done.all():
                    break
                output = model(input_ids=next_ids, past_key_values=cache, use_cache=True)
                hidden = output.last_hidden_state[:, -1]
    finally:
        parts.llm.set_attn_implementation(attention)
    return [row[: row.index(end) + 1] if end in row else row for row in sampled_ids.tolist()]


def advantages(scores: Tensor) -> Tensor:
    """Scores [pictures, samples] → how much better each is than the mean of the picture's others, in units of the
    mean absolute difference; of the same shape."""
    others = (scores.sum(1, keepdim=True) - scores) / (scores.shape[1] - 1)
    advantage = scores - others
    return advantage / advantage.abs().mean().clamp_min(1e-6)


class SelfCritical:
    """Continues a run of ``finetune``: its weights, its optimizer, its checkpoint.

    Args:
        trainer: the run, a ``finetune.Trainer``.
        packer: writes the prompts.
    """

    def __init__(self, trainer: Any, packer: BranchPacker) -> None:
        self.trainer, self.packer, self.pictures = trainer, packer, CaptionedPictures(trainer.data)
        self.scores: list[float] = []
        torch.manual_seed(trainer.seed + trainer.peers.rank)  # of what is sampled
        if not self.pictures.files:
            raise ValueError("no photograph here has three captions or more")

    def train(self, minutes: float, pictures: int = PICTURES, count: int = CAPTIONS) -> None:
        """Train for so many minutes; the log has the mean score of the samples, times 100."""
        trainer = self.trainer
        started, saved_at, first_step = time.perf_counter(), 0.0, trainer.step
        recent: dict[str, list[float]] = defaultdict(list)
        for weight in trainer.parts.trained().values():
            weight.requires_grad_(True)
        for samples in trainer.batches():
            spent = trainer.peers.broadcast((time.perf_counter() - started) / 60)
            if spent >= minutes:
                break
            rate = RATE * min(1.0, (trainer.step - first_step + 1) / WARM_UP)
            rate *= max(0.05, min(1.0, (1 - spent / minutes) / COOL_DOWN))
            trainer.set_rate(rate)
            trainer.learn(samples, recent, lambda: self.loss(pictures, count))
            if trainer.step % 20 == 0:
                trainer.log(
                    {
                        "stage": "captions",
                        "step": trainer.step,
                        "minutes": round(spent, 1),
                        "cider": round(100 * float(np.mean(self.scores)), 1),
                        "loss": trainer.means(recent),
                    }
                )
                self.scores.clear()
                recent.clear()
            if spent - saved_at > 4:
                saved_at = spent
                trainer.save()
        trainer.save()
        trainer.measure()

    def loss(self, pictures: int, count: int) -> Tensor:
        """The loss of one step, whose gradient is that of the expected score."""
        trainer = self.trainer
        parts, rng = trainer.parts, np.random.default_rng([trainer.seed, trainer.step, 2, trainer.peers.rank])
        chosen = [int(i) for i in rng.integers(len(self.pictures.files), size=pictures)]
        question = DESCRIBE[int(rng.integers(len(DESCRIBE)))]
        pixels = [self.pictures.pixels(i, rng) for i in chosen]
        with torch.no_grad():
            tokens = self.trainer.image_tokens(pixels)
        prompt_ids = [*self.packer.prefix, *self.packer.encode(question), *self.packer.to_answer]
        (end,) = self.packer.end
        rows = sampled(parts, tokens, prompt_ids, end, count, MAX_CAPTION_TOKENS)
        captions = [parts.tokenizer.decode(row, skip_special_tokens=True) for row in rows]
        scores = torch.tensor(
            [self.pictures.score(chosen[i // count], captions[i], rows[i][-1] == end) for i in range(len(rows))]
        ).view(pictures, count)
        conversations = [[PictureTurns(((question, caption),), ("caption",)) for caption in captions[i : i + count]]
                       for i in range(0, len(captions), count)]  # fmt: skip
        samples = [
            Sample(picture_pixels, self.packer(turns, MAX_PICTURE_TOKENS), "")
            for picture_pixels, turns in zip(pixels, conversations, strict=True)
        ]
        logits, batch = self.trainer.logits(samples)
        token_losses = nn.functional.cross_entropy(logits, batch["targets"], reduction="none")
        advantage = advantages(scores)[batch["at"][:, 0], batch["turn"]]
        self.scores.append(float(scores.mean()))
        return (advantage * token_losses).sum() / len(token_losses)
