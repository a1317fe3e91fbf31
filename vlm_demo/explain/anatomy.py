"""Anatomy: one more pass over an answer → what each stage made of the picture, and what each layer would predict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vlm_demo.contracts.anatomy import CANDIDATES, TEMPERATURES, Anatomy, Candidates, Features, Lens
from vlm_demo.errors import VlmDemoError
from vlm_demo.runtime.detokenizer import Detokenizer

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer, View
    from vlm_demo.explain.answer_passes import RecordedPass
    from vlm_demo.explain.teacher_forcing import TeacherForcing


def of(answer: Answer, model: TeacherForcing, tokenizer: Any) -> Anatomy:
    """The anatomy of an answer of this model, by one pass.

    Args:
        tokenizer: of the checkpoint, which decodes the tokens that layers predict.
    Raises:
        VlmDemoError: the answer has no tokens.
        UnsupportedModel: see `TeacherForcing.recorded_pass`.
    """
    if not answer.tokens:
        raise VlmDemoError("This answer is empty, so there is nothing to look into: ask again.")
    began = time.perf_counter()
    # 1) the pass
    recorded = model.recorded_pass(answer)
    # 2) pictures: before the bridge and after it
    leading = model.family.leading_tokens
    before, after = _features(answer.views, recorded, leading)
    # 3) layers: what each would predict, how much it attended to the picture, how far it moved the state
    read_out = _read(answer, recorded, model)
    texts, named = _texts_of(answer, read_out.ids, read_out.best, tokenizer)
    lens = Lens(
        read_out.ids,
        texts,
        read_out.probabilities,
        read_out.written,
        tuple(model.crosses(layer) for layer in recorded.layers),
    )
    return Anatomy(
        before=before,
        after=after,
        text_norms=_text_norms(answer, recorded.embeddings),
        lens=lens,
        image_shares=_image_shares(recorded),
        changes=_changes(recorded),
        candidates=Candidates(read_out.best, named, read_out.logits, read_out.totals),
        seconds=time.perf_counter() - began,
    )


def _features(
    views: Sequence[View], recorded: RecordedPass, leading: int
) -> tuple[tuple[Features, ...], tuple[Features, ...]]:
    """Of each picture what the encoder made, and what the bridge made of that, in the order of the view's patches where
    that is known."""
    before, after = [], []
    for view, patches, tokens in zip(views, recorded.patches, _tokens_per_picture(recorded), strict=True):
        features = _numbers(patches.features.flatten(0, 1))
        if recorded.tokens.patch_weights is not None:  # queries, which stand for no place
            before.append(Features(features[leading:], view.grid if _fits(features[leading:], view) else None))
            after.append(Features(tokens, None))
            continue
        after.append(_on_grid(tokens, view, leading))
        # Where the bridge neither merges features nor puts tokens between them, they lie as its tokens do.
        before.append(_on_grid(features, view, leading) if len(features) == len(tokens) else Features(features, None))
    return tuple(before), tuple(after)


def _tokens_per_picture(recorded: RecordedPass) -> list[np.ndarray]:
    """The image tokens of each picture, float32 [tokens, d_llm]."""
    tokens = recorded.tokens.embeddings
    return [_numbers(picture) for picture in tokens.reshape(-1, tokens.shape[-1]).split(list(recorded.tokens.counts))]


def _on_grid(values: np.ndarray, view: View, leading: int) -> Features:
    """The vectors on the view's grid of patches, row by row."""
    places = values[leading:]
    if view.patch_grids:
        places = places[view.patch_grids[0].tokens]
    return Features(places, view.grid if _fits(places, view) else None)


def _fits(values: np.ndarray, view: View) -> bool:
    return len(values) == view.grid[0] * view.grid[1]


def _text_norms(answer: Answer, embeddings: Tensor) -> np.ndarray:
    norms = _numbers(embeddings[: len(answer.prompt.ids)].float().norm(dim=-1))
    return np.delete(norms, list(answer.prompt.image_positions))


@dataclass(frozen=True)
class _LensReadings:
    """What layers predict: of each layer and token the likeliest id, its probability, and that of the token that was
    written; and of each token the candidates' ids, their logits, and `Candidates.totals`."""

    ids: np.ndarray
    probabilities: np.ndarray
    written: np.ndarray
    best: np.ndarray
    logits: np.ndarray
    totals: np.ndarray


def _read(answer: Answer, recorded: RecordedPass, model: TeacherForcing) -> _LensReadings:
    tokens = torch.tensor([token.id for token in answer.tokens], device=recorded.last.device)
    count, layers = len(tokens), len(recorded.states)
    found: list[list[Tensor]] = [[], [], []]
    last: list[list[Tensor]] = [[], [], []]
    at = 0
    for logits in model.layer_logits(recorded):
        places = torch.arange(at, at + len(logits), device=logits.device)
        at += len(logits)
        total = logits.logsumexp(-1)
        top, ids = logits.max(-1)
        chosen = logits.gather(1, tokens[places % count][:, None])[:, 0]
        final = places >= (layers - 1) * count
        values, best = logits[final].topk(min(CANDIDATES, logits.shape[-1]))
        for collected, part in zip(found, (ids, (top - total).exp(), (chosen - total).exp()), strict=True):
            collected.append(part)
        for collected, part in zip(last, (best, values, _totals(logits[final])), strict=True):
            collected.append(part)
    ids, probabilities, written = (torch.cat(parts).reshape(layers, count).cpu().numpy() for parts in found)
    return _LensReadings(ids, probabilities, written, *(torch.cat(parts).cpu().numpy() for parts in last))


def _totals(logits: Tensor) -> Tensor:
    """[places, temperatures]: see `Candidates`."""
    return torch.stack([(logits / temperature).logsumexp(-1) for temperature in TEMPERATURES], -1)


def _texts_of(
    answer: Answer, ids: np.ndarray, best: np.ndarray, tokenizer: Any
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """The texts of ``ids`` [layers, tokens] and of ``best`` [tokens, candidates], each at its place in the answer."""
    text, layers, named = Detokenizer(tokenizer), [], []
    for place, token in enumerate(answer.tokens):
        ids_here = list(dict.fromkeys([*ids[:, place].tolist(), *best[place].tolist()]))
        token_text = text.add(token.id, token.probability, [(id_, 0.0) for id_ in ids_here])
        spelled = {other.id: other.text for other in token_text.alternatives}
        layers.append([spelled[id_] for id_ in ids[:, place].tolist()])
        named.append(tuple(spelled[id_] for id_ in best[place].tolist()))
    return tuple(zip(*layers, strict=True)), tuple(named)


def _image_shares(recorded: RecordedPass) -> np.ndarray | None:
    rows = recorded.rows
    if rows is None or rows.text is None or rows.image.shape[1] != len(recorded.states):
        return None
    return _numbers(rows.image.sum(-1).mean(-1)).T


def _changes(recorded: RecordedPass) -> np.ndarray:
    moved = [
        (output.float() - given.float()).norm(dim=-1) / given.float().norm(dim=-1).clamp(min=1e-9)
        for given, output in recorded.states
    ]
    return _numbers(torch.stack(moved))


def _numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
