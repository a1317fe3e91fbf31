"""Phrasings: composes the parts of `ways.py` into whole questions, one of hundreds for each kind.

A model that sees few phrasings learns whole sentences; one that sees their parts in every combination learns to read.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vlm_demo.synthetic.ways import WAYS

HERE = ("", "", "", " in the {image}", " in this {image}", " here")
RECEIPT = ("", "", " on the receipt", " on this receipt")
NOUN_LEADS = (
    "What is {}?|What is {}?|What is {}?|What's {}?|Tell me {}.|Name {}.|Give {}.|Give me {}.|{}?|{}, please.|"
    "I want to know {}.|I would like to know {}.|Can you tell me {}?|Can you give me {}?|Can you name {}?|"
    "Could you name {}?|Please give {}.|Please tell me {}.|State {}.|Find {}.|Write {}.|Do you know {}?"
).split("|")
WRITTEN_LEADS = "Write {}.|Give {}.|Give me {}.|Please write {}.|Can you give me {}?|I want {}.|{}, please.".split("|")
CLAUSE_LEADS = (
    "Tell me {}.|Can you tell me {}?|Could you tell me {}?|Please tell me {}.|Say {}.|Please say {}.|Can you say {}?|"
    "I want to know {}.|I'd like to know {}.|Do you know {}?|Let me know {}.|Find out {}."
).split("|")
CLAIM_LEADS = (
    "Can you tell me if {}?|Can you tell if {}?|Can you tell whether {}?|Tell me whether {}.|Tell me if {}.|"
    "I want to know if {}.|Please say if {}.|Could you check if {}?|Check whether {}.|Do you know if {}?|"
    "Is it true that {}?|Would you say that {}?"
).split("|")
DIRECT, COMPOSED = 0.55, 0.45  # the shares of whole questions and of composed ones


@lru_cache(maxsize=128)
def _trained(kind: str) -> tuple[tuple[float, tuple[tuple[str, ...], ...]], ...]:
    """Groups (weight, bases); a base is the variants of one template, without those that are held out."""
    ways = WAYS[kind]
    noun_leads = WRITTEN_LEADS if kind == "describe" else NOUN_LEADS
    composed = [
        [lead.format(part) for part in parts for lead in leads]
        for parts, leads in ((ways.nouns, noun_leads), (ways.clauses, CLAUSE_LEADS), (ways.claims, CLAIM_LEADS))
        if parts
    ]
    groups = [(DIRECT, list(ways.direct)), *((COMPOSED / len(composed), group) for group in composed)]
    return tuple((weight, _variants(group, ways.held_out)) for weight, group in groups)


def _variants(templates: list[str], held_out: tuple[str, str]) -> tuple[tuple[str, ...], ...]:
    never = {_folded(text) for text in held_out}
    bases = []
    for template in templates:
        fillings = HERE if "{here}" in template else RECEIPT if "{receipt}" in template else ("",)
        texts = [template.replace("{here}", filling).replace("{receipt}", filling) for filling in fillings]
        kept = tuple(text for text in texts if _folded(text) not in never)
        if kept:
            bases.append(kept)
    return tuple(bases)


def _folded(text: str) -> str:
    return text.lower().rstrip("?.").replace("this {image}", "the {image}").replace("what's", "what is")


def phrasings(kind: str, held_out: bool) -> tuple[str, ...]:
    """Every trained phrasing of a kind, or the two that training never sees."""
    if held_out:
        return WAYS[kind].held_out
    return tuple(sorted({text for _, bases in _trained(kind) for base in bases for text in base}))


def choose(kind: str, rng: np.random.Generator, held_out: bool) -> str:
    """One phrasing of the kind, a template to be filled."""
    if held_out:
        return str(rng.choice(WAYS[kind].held_out))
    groups = _trained(kind)
    weights = np.array([weight for weight, _ in groups])
    bases = groups[int(rng.choice(len(groups), p=weights / weights.sum()))][1]
    base = bases[int(rng.integers(len(bases)))]
    return base[int(rng.integers(len(base)))]
