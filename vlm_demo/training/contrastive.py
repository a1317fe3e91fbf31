"""Contrastive training: photographs and the texts that describe them → the heads of ``clip`` (ITC).

Both towers are frozen, so each picture and text is encoded once and stored on disk; what is trained, a pooling head,
two projections and a temperature, then sees large batches in little time. A random part of a picture's tokens is
stored, and each step uses a random part of these (Li et al. 2023, https://arxiv.org/abs/2212.00794). The loss is
InfoNCE both ways (Radford et al. 2021, https://arxiv.org/abs/2103.00020); pictures of an equal text are all right.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, normalize
from transformers import BertModel

from vlm_demo.errors import VlmDemoError
from vlm_demo.models import minilm, parts
from vlm_demo.models.builders import Recipe
from vlm_demo.models.efficientnet_lite import AttentionPool
from vlm_demo.models.pretrained import VisionTower, vision_tower
from vlm_demo.training import json_lines
from vlm_demo.training.bridge_training import frozen
from vlm_demo.training.cached_features import cached_rows
from vlm_demo.training.export import export as export_weights
from vlm_demo.training.mixture import SHARES, Folder, load_pixels
from vlm_demo.training.photo_words import READABLE
from vlm_demo.training.photos_split import PERCENT
from vlm_demo.training.record import CHECKPOINT, LOG, Spent
from vlm_demo.training.trained_parts import fast_dtype, standardize

EXCLUDED = frozenset({"chartqa", "daquar"})  # folders whose texts do not describe the picture
SIZE = 512  # channels of the pooling head
STORED_TOKENS, STEP_TOKENS = 32, 24  # of a picture: on disk, in a step
BATCH, EPOCHS, RATE, DECAY = 512, 16, 1e-3, 0.05
DROPOUT = 0.1  # of the pooled vector, while it is trained
CANDIDATES = 100  # pictures among which a text has to find its picture
TEMPERATURE = 0.07  # in the beginning
CHUNK = 16  # pictures, or texts × 8, that a tower encodes at once
F16_MAX = 6e4  # features are clamped to ±this, to fit float16


@dataclass(frozen=True)
class PhotoTexts:
    """A picture's file and the texts that fit it."""

    path: Path
    texts: tuple[str, ...]


def photos(roots: Sequence[Path], held: bool = False, limit: int | None = None, seed: int = 0) -> list[PhotoTexts]:
    """The trained (or held-out) photographs that have a text, shuffled.

    Args:
        roots: folders of folders of annotated photographs, see ``mixture.Mixture``.
        limit: at most this many; None = all.
    Raises:
        VlmDemoError: there are none.
    """
    with_texts = []
    for name in SHARES:
        if name not in PERCENT or name in EXCLUDED:
            continue
        for root in roots:
            if (root / name / "annotations.jsonl").is_file():
                folder = Folder(root / name, held)
                texts = ((item["image"], texts_of(item)) for item in folder.items)
                with_texts += [PhotoTexts(folder.path / image, described) for image, described in texts if described]
                break
    if not with_texts:
        names = ", ".join(map(str, roots)) or "no folder"
        raise VlmDemoError(f"There are no photographs with words in {names}: name what holds their folders.")
    order = np.random.default_rng(seed).permutation(len(with_texts))
    return [with_texts[i] for i in order[:limit]]


def texts_of(item: Mapping[str, Any]) -> tuple[str, ...]:
    """An annotation's captions, or a sentence made of its labels or boxes."""
    if item.get("captions"):
        return tuple(item["captions"])
    labels = {kind: name.replace("_", " ") for kind, name in item.get("labels", {}).items() if isinstance(name, str)}
    if "action" in labels:
        return (f"a person {labels['action']}",)
    named = labels.get("object") or labels.get("item") or labels.get("garment")
    if named:
        return (f"a {labels.get('style', 'photo')} of {_one(READABLE.get(named, named))}",)
    boxed = list(dict.fromkeys(READABLE.get(box[0], box[0]) for box in item.get("boxes", ())))
    return (f"a photo of {' and '.join(map(_one, boxed))}",) if boxed else ()


def _one(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


class Heads(nn.Module):
    """All that is trained; its state dict is what ``builders.clip`` takes.

    Args:
        channels: of a token of the vision tower.
        width: of the text tower, and of the space in which both meet. The text head begins as good as the identity, so
            that picture vectors learn to lie where MiniLM puts the texts.
    """

    def __init__(self, channels: int, width: int, size: int = SIZE) -> None:
        super().__init__()
        self.picture = AttentionPool(channels, size)
        self.picture.out = nn.Linear(size, width, bias=False)
        self.text = nn.ModuleDict({"hidden": nn.Linear(width, width), "out": nn.Linear(width, width, bias=False)})
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))
        for layer, scale in (("hidden", 0.5), ("out", 1.0)):
            nn.init.eye_(self.text[layer].weight).data.mul_(scale)
        nn.init.zeros_(self.text["hidden"].bias)
        nn.init.zeros_(self.picture.score.weight)

    def pictures(self, features: Tensor) -> Tensor:
        """Tokens [B, N, channels] → unit vectors [B, width]."""
        pooled = self.picture(self.picture.tokens(features))
        return normalize(self.picture.out(nn.functional.dropout(pooled, DROPOUT, self.training)).float(), dim=-1)

    def texts(self, sentences: Tensor) -> Tensor:
        """MiniLM's vectors [B, width] → unit vectors [B, width]; BERT's pooler has the tanh."""
        return normalize(self.text["out"](self.text["hidden"](sentences).tanh()).float(), dim=-1)


def info_nce(pictures: Tensor, texts: Tensor, text_ids: Tensor, logit_scale: Tensor) -> Tensor:
    """The mean of both directions' cross-entropy.

    Args:
        pictures, texts: unit vectors [B, d].
        text_ids: [B], which text each is: pictures of one text are all right answers to it, and share the probability.
        logit_scale: the logarithm of 1 / temperature.
    """
    scores = pictures @ texts.T * logit_scale.exp()
    targets = (text_ids[:, None] == text_ids).float()
    targets = targets / targets.sum(1, keepdim=True)
    return -(targets * (log_softmax(scores, 1) + log_softmax(scores.T, 1))).sum(1).mean() / 2


# -- tower outputs, computed once -----------------------------------------------------------------------------------


@torch.no_grad()
def picture_rows(tower: VisionTower, chosen: Sequence[PhotoTexts], side: int, tokens: int | None, file: Path) -> Tensor:
    """Tokens float16 [pictures, tokens, channels] of each picture, by the frozen tower.

    Args:
        tokens: how many of them, at random places; None = all.
    """
    patches = (side // tower.config.patch_size) ** 2
    count = min(tokens or patches, patches)
    tower = frozen(tower, fast_dtype()).to(memory_format=torch.channels_last)

    def encode(start: int, end: int) -> Tensor:
        rng = np.random.default_rng(start)
        pixels = [load_pixels(photo.path, side, False, 1.0, rng, tower.fill) for photo in chosen[start:end]]
        stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
        rows = tower(stacked).last_hidden_state
        index = torch.from_numpy(np.stack([np.sort(rng.choice(patches, count, replace=False)) for _ in rows]))
        return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[2])).float().clamp(-F16_MAX, F16_MAX)

    sources = [f"{side}", *(str(photo.path) for photo in chosen)]
    return cached_rows(file, sources, (len(chosen), count, tower.config.hidden_size), torch.float16, encode, CHUNK)


@torch.no_grad()
def text_rows(text: minilm.TextTower, texts: Sequence[str], file: Path) -> Tensor:
    """MiniLM's vectors float16 [texts, width]."""
    model = BertModel(text.config, add_pooling_layer=False).eval()
    model.load_state_dict(text.weights)
    lengths = [len(text.tokenizer(caption)["input_ids"]) for caption in texts]
    order = np.argsort(lengths, kind="stable")  # in batches of similar length, so that little is padding

    def encode(start: int, end: int) -> Tensor:
        batch = [texts[i] for i in order[start:end]]
        encoded = text.tokenizer(batch, padding=True, truncation=True, padding_side="right", return_tensors="pt")
        return model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).last_hidden_state[:, 0]

    rows = cached_rows(file, texts, (len(texts), text.config.hidden_size), torch.float16, encode, 8 * CHUNK)
    return rows[torch.from_numpy(np.argsort(order))]


@dataclass(frozen=True)
class Pairs:
    """Pictures and their texts as the towers encode them.

    Attributes:
        pictures: float16 [pictures, tokens, channels].
        texts: float32 [texts, width]; equal texts are one.
        captions: for each picture the rows of ``texts`` that describe it.
    """

    pictures: Tensor
    texts: Tensor
    captions: tuple[tuple[int, ...], ...]


def pairs(
    tower: VisionTower, text: minilm.TextTower, chosen: Sequence[PhotoTexts], side: int, tokens: int | None, stem: Path
) -> Pairs:
    """Encode all of them, or those that the files which begin with ``stem`` lack."""
    index: dict[str, int] = {}
    captions = tuple(tuple(index.setdefault(text, len(index)) for text in photo.texts) for photo in chosen)
    sentences = text_rows(text, list(index), stem.with_name(f"{stem.name}-texts.float16"))
    pictures = picture_rows(tower, chosen, side, tokens, stem.with_name(f"{stem.name}-pictures.float16"))
    return Pairs(pictures, sentences.float(), captions)


# -- training -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def recall(heads: Heads, held: Pairs) -> dict[str, float]:
    """R@1 among CANDIDATES held-out pictures, each with its first text: of texts that find their picture, and of
    pictures that find one of their texts or an equal one; the mean over groups of that many."""
    heads.eval()
    ranks: dict[str, list[float]] = {"text to picture": [], "picture to text": []}
    for start in range(0, len(held.captions), CANDIDATES):
        text_ids = torch.tensor(
            [held.captions[i][0] for i in range(start, min(start + CANDIDATES, len(held.captions)))]
        )
        if start and len(text_ids) < CANDIDATES:
            break
        vectors = heads.pictures(held.pictures[start : start + len(text_ids)].float())
        cosines = vectors @ heads.texts(held.texts[text_ids]).T
        for name, nearest in (("text to picture", cosines.argmax(0)), ("picture to text", cosines.argmax(1))):
            ranks[name].append((text_ids[nearest] == text_ids).float().mean().item())
    heads.train()
    return {name: float(np.mean(values)) for name, values in ranks.items()}


def fit(
    heads: Heads,
    data: Pairs,
    held: Pairs,
    report: Callable[[dict[str, Any]], None],
    epochs: int = EPOCHS,
    batch: int = BATCH,
    seed: int = 0,
) -> None:
    """Train the heads; an epoch sees each picture once, with one of its texts.

    Args:
        report: called after each epoch with its loss, the held-out recall, the temperature and the seconds.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout's
    batch = min(batch, len(data.captions))
    sample = data.pictures[: min(500, len(data.captions))].flatten(0, 1)
    standardize(heads.picture.project, sample)
    matrices = [value for value in heads.parameters() if value.dim() == 2]
    vectors = [value for value in heads.parameters() if value.dim() == 1]
    groups = [
        {"params": matrices, "weight_decay": DECAY},
        {"params": vectors, "weight_decay": 0.0},
        {"params": [heads.logit_scale], "weight_decay": 0.0},
    ]
    rates = [RATE, RATE, 10 * RATE]  # one number has far to go in few steps
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98))
    steps = epochs * (len(data.captions) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=min(0.1, 50 / steps))
    dtype = fast_dtype()
    n = len(held.captions) // CANDIDATES * CANDIDATES or len(held.captions)  # by ``recall``
    heads.train()
    for epoch in range(epochs):
        started, losses = time.perf_counter(), []
        order = rng.permutation(len(data.captions))
        for start in range(0, len(order) - batch + 1, batch):
            rows = np.sort(order[start : start + batch])  # in the order of the file
            text_ids = torch.tensor([data.captions[i][int(rng.integers(len(data.captions[i])))] for i in rows])
            positions = torch.randperm(data.pictures.shape[1], generator=generator)[:STEP_TOKENS]
            features = data.pictures[torch.from_numpy(rows)][:, positions]
            with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
                picture_vectors, text_vectors = heads.pictures(features.float()), heads.texts(data.texts[text_ids])
            loss = info_nce(picture_vectors, text_vectors, text_ids, heads.logit_scale)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                heads.logit_scale.clamp_(max=math.log(100.0))
            losses.append(loss.item())
        figures = {name: round(value, 3) for name, value in recall(heads, held).items()}
        report({"epoch": epoch + 1, "loss": round(float(np.mean(losses)), 3), "held_out": figures,
                "n": dict.fromkeys(figures, n), "samples": len(losses) * batch, "steps": len(losses),
                "temperature": round(math.exp(-heads.logit_scale.item()), 4),
                "seconds": round(time.perf_counter() - started, 1)})  # fmt: skip


def run(
    chosen: Sequence[PhotoTexts],
    held_photos: Sequence[PhotoTexts],
    folder: Path,
    recipe: Recipe,
    epochs: int = EPOCHS,
    batch: int = BATCH,
    seed: int = 0,
    log: Callable[[str], None] = print,
) -> None:
    """Encode the photographs, unless ``folder`` holds their features already, and train the heads: ``checkpoint.pt``
    and ``log.jsonl``.

    Encoding takes about 26 ms a picture and 5 ms a text on two cores that are free, and 113 KB of disk a picture.

    Args:
        chosen: photographs to be trained on.
        held_photos: held out, for the recall.
        recipe: which parts.
    Raises:
        UnsupportedModel, ModelNotFound, VlmDemoError: see ``parts.find``.
    """

    def report(record: dict[str, Any]) -> None:
        log(json.dumps(record))
        with (folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    folder.mkdir(parents=True, exist_ok=True)
    side = recipe.image_size
    tower = vision_tower(recipe.vision_tower, side, lambda _fraction, text: log(text))
    text = minilm.read(parts.find(recipe.language_model, lambda _fraction, text: log(text)))
    started = time.perf_counter()
    data = pairs(tower, text, chosen, side, STORED_TOKENS, folder / "trained")
    held = pairs(tower, text, held_photos, side, None, folder / "held")
    report({"pictures": len(chosen), "texts": len(data.texts), "pictures_held_out": len(held_photos),
            "seconds": round(time.perf_counter() - started, 1)})  # fmt: skip
    torch.manual_seed(seed)
    heads = Heads(tower.config.hidden_size, text.config.hidden_size)
    fit(heads, data, held, report, epochs, batch, seed)
    torch.save(heads.state_dict(), folder / CHECKPOINT)


def spent(folder: Path) -> Spent:
    """What a run took, by its log; encoding the photographs is left out."""
    epochs = [line for line in json_lines.read(folder / LOG) if "epoch" in line]
    samples, steps = (sum(line[name] for line in epochs) for name in ("samples", "steps"))
    return Spent(samples, steps, round(sum(line["seconds"] for line in epochs) / 60, 1))


def export(folder: Path, target: Path, recipe: Recipe) -> None:
    """A run's heads → the files that ship in ``target`` (``assets/models/clip``), which from then on is offered."""
    export_weights(torch.load(folder / CHECKPOINT, weights_only=True), target, recipe)
