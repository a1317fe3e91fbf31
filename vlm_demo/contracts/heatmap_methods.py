"""Heatmap methods: the ways to draw a word's map, as a person chooses between them.

``explain.methods`` computes them; how reliable each is, is measured:
`python -m vlm_demo evaluate FOLDER --pointing --method all`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MapMethod:
    """One way to draw a word's map.

    Attributes:
        name: what it is called in code and on the command line.
        title: a few plain words for a menu.
        about: one sentence for a person: what the map shows.
        source: where the method is described; empty for what needs no source.
        free: made of the rows that were recorded while the answer was written; or else it needs a pass of its own.
        selectable: whether a single layer and head can be chosen.
    """

    name: str
    title: str
    about: str
    source: str
    free: bool = True
    selectable: bool = False


ARXIV = "https://arxiv.org/abs/"

TABLE = (
    MapMethod(
        "raw",
        "Raw attention",
        "The attention weights as they are, of one layer and head or the mean of all; the pull of the first token and "
        "of patches that every word looks at is left in.",
        ARXIV + "1706.03762",
        selectable=True,
    ),
    MapMethod(
        "mean",
        "Mean of all heads",
        "The mean of all heads, each scaled alike, so that heads which rest on the first token count no less.",
        "",
    ),
    MapMethod(
        "localised",
        "Localised heads",
        "The mean of the few heads whose attention lies in one place for this word.",
        ARXIV + "2503.06287",
    ),
    MapMethod(
        "last",
        "Last layer",
        "The mean of the last layer's heads, which is what most attention viewers draw.",
        "",
    ),
    MapMethod(
        "heads",
        "Best-pointing heads",
        "The mean of the heads that pointed best at named things in pictures that were set aside to choose them.",
        "",
    ),
    MapMethod(
        "weighted",
        "Weighted heads",
        "All heads together, each counting as much as it helps to point at named things, by weights fitted on pictures "
        "with boxes.",
        "",
    ),
    MapMethod(
        "queries",
        "Queries × patches",
        "What the Q-Former's queries that this word looked at had seen of the picture, more than all queries did.",
        ARXIV + "2301.12597",
    ),
    MapMethod(
        "rollout",
        "Attention rollout",
        "Attention multiplied through all layers, as if each passed on half of what it was given.",
        ARXIV + "2005.00928",
        free=False,
    ),
    MapMethod(
        "relevancy",
        "Gradient × attention",
        "Attention through all layers, counted only as far as it made the word likelier.",
        ARXIV + "2103.15679",
        free=False,
    ),
    MapMethod(
        "activation",
        "Token activation",
        "How far each image token itself would say the word, minus what the words before it explain.",
        ARXIV + "2506.23270",
        free=False,
    ),
    MapMethod(
        "similarity",
        "Fits the word",
        "Which patches make the picture as a whole resemble this word, by the model's part that compares the two.",
        ARXIV + "2103.15679",
        free=False,
    ),
    MapMethod(
        "occlusion",
        "Occlusion",
        "How much less likely the word becomes when this part of the picture is blurred: slow, and the only one of "
        "these that tests what causes the word.",
        ARXIV + "1311.2901",
        free=False,
    ),
)
BY_NAME = {method.name: method for method in TABLE}
