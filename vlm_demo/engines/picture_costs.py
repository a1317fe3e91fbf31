"""Picture costs: what a picture of some size costs each model of the catalog. Loads none of them, and knows no page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PictureCost:
    """What a picture costs one model that writes answers.

    Attributes:
        name: as people call the model.
        id: what ``--model`` takes.
        image_tokens: how many the picture becomes; None = it is too elongated for the model, and so for the rest.
        of_context: the part of the model's context that they take, 0..; above 1 they do not fit.
        context: the model's, in tokens.
        cache_bytes: their keys and values.
        memory_bytes: the weights as they are stored, and the cache.
        memory_bytes_4bit: the same with weights in 4 bit.
        cross_attention: whether words look at the tokens by it, so that they take one position of the context.
    """

    name: str
    id: str
    image_tokens: int | None
    of_context: float | None
    context: int
    cache_bytes: int | None
    memory_bytes: int | None
    memory_bytes_4bit: int | None
    cross_attention: bool


def costs(size: tuple[int, int]) -> list[PictureCost]:
    """What a picture of (width, height) costs the models that write answers, smallest first.

    A large picture is made smaller before a model gets it, as ``stages.view`` does. Models whose rule is not known are
    left out.
    """
    from vlm_demo.models.loading import catalog
    from vlm_demo.stages.view import times_smaller

    times = times_smaller(size)
    width, height = (-(-length // times) for length in size)
    found = []
    for entry in sorted(catalog(), key=lambda entry: entry.needs("none") or 0):
        if entry.image_tokens is None:
            continue
        tokens = entry.image_tokens.count(width, height)
        taken = tokens if entry.in_context is None or tokens is None else entry.in_context
        cache = None if tokens is None else tokens * entry.kv_bytes_per_token
        found.append(
            PictureCost(
                name=entry.name,
                id=entry.id,
                image_tokens=tokens,
                of_context=None if taken is None else taken / entry.context,
                context=entry.context,
                cache_bytes=cache,
                memory_bytes=_with(cache, entry.needs("none")),
                memory_bytes_4bit=_with(cache, entry.needs("4bit")),
                cross_attention=entry.in_context is not None,
            )
        )
    return found


def _with(cache: int | None, weights: int | None) -> int | None:
    return None if cache is None or weights is None else cache + weights
