"""Phrasings: composes the parts in `ways/*.json` into whole questions, hundreds for most kinds.

A model that sees few phrasings memorizes them; one that sees their parts in every combination learns to generalize.

The files, one an area and one that they share, hold for each kind:

- ``direct``: whole questions;
- ``nouns``: what is wanted as a noun phrase, "the colour of the star" → "Tell me the colour of the star.";
- ``clauses``: the same as an indirect question, "what colour the star is" → "I want to know what colour the star is.";
- ``claims``: what may be so, "there is a star" → "Can you tell me if there is a star?";
- ``held_out``: two phrasings that training never sees.

Fields: {obj} a thing such as "red circle", {plural} the same in the plural, {tint} a colour name, {color} the word
color or colour, {image} the word image, picture, scene or drawing, {objects} the word shapes, objects or things;
{here} and {receipt} are an optional "in the image" and "on the receipt".
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from vlm_demo.training.worlds.values import WORDS

WAYS: dict[str, dict[str, list[str]]] = {
    kind: ways
    for file in sorted((Path(__file__).parent / "ways").glob("*.json"))
    for kind, ways in json.loads(file.read_text()).items()
}

HERE = ("", "", "", " in the {image}", " in this {image}", " here")
RECEIPT = ("", "", " on the receipt", " on this receipt")
# How a composed question begins, by the sort of what follows; the last are those of a caption.
LEAD_INS, CAPTION_LEAD_INS = WORDS["leads"], WORDS["written"]
COMPOSED = 0.45  # the share of composed questions; the others are whole ones

Variants = tuple[str, ...]  # of one template, with each filling of its optional parts


def phrasings(kind: str, held_out: bool) -> tuple[str, ...]:
    """Every trained phrasing of a kind, or the two that training never sees."""
    if held_out:
        return tuple(WAYS[kind]["held_out"])
    return tuple(sorted({text for _, group in _trained(kind) for variants in group for text in variants}))


def choose(kind: str, rng: np.random.Generator, held_out: bool) -> str:
    """One phrasing of the kind, a template to be filled."""
    if held_out:
        return str(rng.choice(WAYS[kind]["held_out"]))
    groups = _trained(kind)
    weights = np.array([weight for weight, _ in groups])
    group = groups[int(rng.choice(len(groups), p=weights / weights.sum()))][1]
    variants = group[int(rng.integers(len(group)))]
    return variants[int(rng.integers(len(variants)))]


@lru_cache(maxsize=512)
def _trained(kind: str) -> tuple[tuple[float, tuple[Variants, ...]], ...]:
    """Groups of phrasings with their weights."""
    ways = WAYS[kind]
    composed = [
        [lead.format(part) for part in ways[sort] for lead in (CAPTION_LEAD_INS if kind == "describe" else lead_ins)]
        for sort, lead_ins in LEAD_INS.items()
        if sort in ways
    ]
    groups = [(1 - COMPOSED, ways["direct"]), *((COMPOSED / len(composed), group) for group in composed)]
    held_out = {_folded(text) for text in ways["held_out"]}
    return tuple((weight, _variants(group, held_out)) for weight, group in groups)


def _variants(templates: list[str], held_out: set[str]) -> tuple[Variants, ...]:
    found = []
    for template in templates:
        fillings = HERE if "{here}" in template else RECEIPT if "{receipt}" in template else ("",)
        texts = [template.replace("{here}", filling).replace("{receipt}", filling) for filling in fillings]
        trained = tuple(text for text in texts if _folded(text) not in held_out)
        if trained:
            found.append(trained)
    return tuple(found)


def _folded(text: str) -> str:
    """The bare words: case, punctuation, "this" for "the" and a contraction make no other phrasing."""
    words = "".join(letter for letter in text.lower() if letter not in "?.,:")
    return words.replace("this {image}", "the {image}").replace("what's", "what is")


def tidy(text: str) -> str:
    """With "an" where it belongs."""
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
