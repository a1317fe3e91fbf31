"""Offers: which models and precisions this machine can be asked to load. Knows no page and no loaded model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from vlm_demo.errors import VlmDemoError


@dataclass(frozen=True)
class Offer:
    """A model of the catalog that has to be fetched and writes answers.

    Attributes:
        name: as people call it.
        id: what ``--model`` takes.
        download_bytes: of its files.
        needed: bytes of its weights at the chosen precision; 0 where that is not known.
        fits, fits_in_4bit: whether it can be loaded and can work in the room that there is.
        gated: whether the hub gives it only to people who accepted the licence.
        good_at: in a few words.
    """

    name: str
    id: str
    download_bytes: int
    needed: int
    fits: bool
    fits_in_4bit: bool
    gated: bool
    good_at: str


def hub(quantize: str = "none", room: int = 0) -> list[Offer]:
    """The catalog's models that have to be fetched and write answers, smallest download first.

    Args:
        quantize: the precision in which one would be loaded.
        room: bytes that are free for it.
    """
    from vlm_demo.models.adapters import of_family
    from vlm_demo.models.catalog import fits
    from vlm_demo.models.loading import catalog

    fetched = (entry for entry in catalog() if entry.on_hub and of_family(entry.family).writes)
    offers = []
    for entry in sorted(fetched, key=lambda entry: entry.download_bytes):
        needed, smaller = entry.needs(quantize) or 0, entry.needs("4bit")
        offers.append(
            Offer(
                name=entry.name,
                id=entry.id,
                download_bytes=entry.download_bytes,
                needed=needed,
                fits=fits(needed, room),
                fits_in_4bit=bool(smaller and fits(smaller, room)),
                gated=entry.gated,
                good_at=entry.good_at,
            )
        )
    return offers


def embedded() -> list[str]:
    """The names of the embedded models that write answers."""
    from vlm_demo.models.loading import embedded_names

    return [name for name in embedded_names() if writes(name)]


def disk_use(name: str) -> int:
    """Bytes on disk, about, that an embedded model takes when it is first chosen; 0 where it is there already, or can't
    be put together, which is said when it is chosen."""
    from vlm_demo.models.loading import disk_use

    try:
        return disk_use(name)
    except (VlmDemoError, OSError):
        return 0


@dataclass(frozen=True)
class Comparer:
    """An embedded model that compares pictures with texts.

    Attributes:
        name: what ``--model`` takes.
        matches: whether it has a head that reads picture and text together (ITM).
        good_at: in a few words; empty where the catalog does not say.
    """

    name: str
    matches: bool
    good_at: str


@cache
def comparers() -> tuple[Comparer, ...]:
    """The embedded models that compare pictures with texts; those that do nothing else come first."""
    from vlm_demo.models.adapters import blip2_retrieval
    from vlm_demo.models.loading import catalog, embedded_names, shipped

    good_at = {entry.id: entry.good_at for entry in catalog()}
    only, both = [], []
    for name in embedded_names():
        folder = shipped(name)
        if not writes(name):
            only.append(Comparer(name, False, good_at.get(name, "")))
        elif folder and blip2_retrieval.is_in(folder):
            both.append(Comparer(name, True, good_at.get(name, "")))
    return (*only, *both)


def room_on(device: str) -> int:
    """Bytes that are free on ``device``; where that is a server's, of this machine, which would load another model."""
    import torch

    from vlm_demo.models import quantization

    try:
        where = torch.device(device)
    except RuntimeError:
        where = torch.device("cpu")
    return quantization.room_on(where)


def unquantizable() -> dict[str, str]:
    """Precision → what is missing to load a model in it; nothing where all can be had."""
    from vlm_demo.models import quantization

    missing = quantization.missing()
    return dict.fromkeys(quantization.PRECISIONS[1:], missing) if missing else {}


@cache
def writes(name: str) -> bool:
    """Whether an embedded model writes answers; others compare pictures with texts, which no chat can use."""
    from transformers import AutoConfig

    from vlm_demo.models.adapters import adapter_of, of_family
    from vlm_demo.models.loading import checkpoint, family_of

    family = family_of(name)  # known before the checkpoint is put together
    adapter = of_family(family) if family else adapter_of(AutoConfig.from_pretrained(checkpoint(name)))
    return bool(adapter.writes)
