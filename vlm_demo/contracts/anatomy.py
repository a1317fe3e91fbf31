"""Anatomy: the inside of one answer in numbers, layer by layer, as one more reading of it shows. Data and no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CANDIDATES = 20  # likeliest tokens that are kept of each step
TEMPERATURES = (0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)  # at which their shares are computed


@dataclass(frozen=True, eq=False)
class Features:
    """What a stage made of one picture.

    Attributes:
        values: float32 [n, d].
        grid: (rows, columns) of the patches of the picture's view that ``values`` stand for, row by row; None where
            they stand for no known places, as a Q-Former's queries.
    """

    values: np.ndarray
    grid: tuple[int, int] | None

    @property
    def norms(self) -> np.ndarray:
        """float32 [n], the length of each vector."""
        return np.linalg.norm(self.values, axis=1)


@dataclass(frozen=True, eq=False)
class Lens:
    """The logit lens (nostalgebraist 2020): the final norm and the head, applied to each layer's output at the places
    from which the answer's tokens were written. The last layer's row is the model's own prediction.

    Attributes:
        ids: int64 [layers, tokens], the likeliest token.
        texts: [layers][tokens], the same decoded at its place in the answer.
        probabilities: float32 [layers, tokens], its softmax probability, 0..1.
        written: float32 [layers, tokens], the probability of the token that the answer has there.
        crossing: for each layer, whether it is one that looks at the picture between the model's own (cross-attention).
    """

    ids: np.ndarray
    texts: tuple[tuple[str, ...], ...]
    probabilities: np.ndarray
    written: np.ndarray
    crossing: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The likeliest tokens of each step, by logits as the model gave them: before temperature and penalties.

    Attributes:
        ids: int64 [tokens, candidates], likeliest first.
        texts: [tokens][candidates], the same in text; a control token is called by its name.
        logits: float32 [tokens, candidates].
        totals: float32 [tokens, ``TEMPERATURES``], the logarithm of the sum of e^(logit / temperature) over the whole
            vocabulary, so that e^(logit / temperature − total) is a probability.
    """

    ids: np.ndarray
    texts: tuple[tuple[str, ...], ...]
    logits: np.ndarray
    totals: np.ndarray


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What one forward pass over prompt and answer shows.

    Attributes:
        before: of each picture, what the encoder made of it.
        after: of each picture, what the bridge made of that: image tokens, or what cross-attention layers look at.
        text_norms: float32 [prompt's tokens but the image tokens], the length of their embeddings.
        lens: what each layer would predict.
        image_shares: float32 [layers, tokens], 0..1, how much of each layer's attention went to image tokens, the
            mean of its heads; None where the layers that look at pictures see nothing else.
        changes: float32 [layers, tokens], how far a layer moved the state, by the state's own length.
        candidates: of each step.
        seconds: that the reading took.
    """

    before: tuple[Features, ...]
    after: tuple[Features, ...]
    text_norms: np.ndarray
    lens: Lens
    image_shares: np.ndarray | None
    changes: np.ndarray
    candidates: Candidates
    seconds: float
