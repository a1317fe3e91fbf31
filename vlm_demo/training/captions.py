"""Caption batches: drawn pictures with what is true of them and what is nearly so (`synthetic/captions.py`)."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset
from transformers import PreTrainedTokenizerFast

from vlm_demo.synthetic.areas import AREAS
from vlm_demo.synthetic.captions import Caption, claim, full, listed
from vlm_demo.synthetic.world import Picture
from vlm_demo.training.data import picture_parts, stacked
from vlm_demo.training.patches import model_pixels, patch_labels

SHARES = {"scenes": 0.42, "solids": 0.2, "charts": 0.18, "screens": 0.12, "documents": 0.08}
MIXED = 0.25  # of the batches: pictures of all areas; the others are of one, whose pictures are harder to tell apart


def may_be_true(captions: list[Caption]) -> Tensor:
    """bool [B, B]: whether caption j may be true of picture i: all that j lists is in i's own list."""
    lists = [listed(caption) for caption in captions]
    return torch.tensor([[j <= i for j in lists] for i in lists])


class CaptionBatches(IterableDataset):
    """Endless batches of pictures with captions, the same for the same seed.

    A batch holds pixels uint8 [B, H, W, 3]; full int64 [B, 2, T] and claims int64 [B, ``claims``, 2, T'], the true text
    and then the wrong one, each ``<s>`` text ``end`` and padded on the right; same bool [B, B], whether the full
    caption j may be true of picture i; area int64 [B]. With ``labels`` it also holds what each patch shows.
    """

    def __init__(
        self,
        seed: int,
        start: int,
        tokenizer: PreTrainedTokenizerFast,
        end: int,
        size: int,
        claims: int = 1,
        labels: bool = False,
    ) -> None:
        self.seed, self.start, self.end, self.size, self.claims = seed, start, end, size, claims
        self.labels = labels
        self.bos, self.pad = tokenizer.convert_tokens_to_ids("<s>"), tokenizer.convert_tokens_to_ids("<pad>")
        self.backend = copy.deepcopy(tokenizer.backend_tokenizer)
        self.backend.encode_special_tokens = True
        self.shares = {name: share for name, share in SHARES.items() if name in AREAS}

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = torch.utils.data.get_worker_info()
        number = self.start + (worker.id if worker else 0)
        while True:
            yield self.batch(np.random.default_rng([self.seed, 7, number]))
            number += worker.num_workers if worker else 1

    def batch(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """One batch, drawn from ``rng``."""
        names, shares = list(self.shares), np.array(list(self.shares.values()))
        area, mixed = str(rng.choice(names, p=shares / shares.sum())), rng.random() < MIXED
        pictures: list[Picture] = []
        whole: list[Caption] = []
        claimed: list[Caption] = []
        areas: list[int] = []
        while len(pictures) < self.size:
            name = str(rng.choice(names, p=shares / shares.sum())) if mixed else area
            picture = AREAS[name].draw(rng, False)
            told, some = full(picture, rng), self._claims(picture, rng)
            if not some:
                continue
            pictures.append(picture)
            whole.append(told or some[0])
            claimed += some
            areas.append(names.index(name))
        if self.labels:
            shown = stacked([picture_parts(picture, patch_labels(picture)) for picture in pictures])
        else:
            shown = {"pixels": torch.from_numpy(np.stack([model_pixels(picture.image) for picture in pictures]))}
        return shown | {
            "full": self.encode(whole),
            "claims": self.encode(claimed).reshape(self.size, self.claims, 2, -1),
            "same": may_be_true(whole),
            "area": torch.tensor(areas),
        }

    def _claims(self, picture: Picture, rng: np.random.Generator) -> list[Caption]:
        """As many as wanted, different ones where there are so many; none if the picture allows none."""
        found: dict[str, Caption] = {}
        for _ in range(2 * self.claims):
            caption = claim(picture, rng)
            if caption is not None and len(found) < self.claims:
                found.setdefault(caption.true, caption)
        some = list(found.values())
        return [some[i % len(some)] for i in range(self.claims)] if some else []

    def encode(self, captions: list[Caption]) -> Tensor:
        """int64 [captions, 2, T], the true text and the wrong one, padded."""
        texts = [text for caption in captions for text in (caption.true, caption.wrong)]
        coded = [[self.bos, *self.backend.encode(text, add_special_tokens=False).ids, self.end] for text in texts]
        longest = max(map(len, coded))
        padded = torch.tensor([ids + [self.pad] * (longest - len(ids)) for ids in coded])
        return padded.reshape(len(captions), 2, longest)
