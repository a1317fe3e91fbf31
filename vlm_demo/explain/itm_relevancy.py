"""ITM relevancy: how well a text fits a picture, and which patches match it, in a model that compares the two.

Reads the vision encoder once more with whole attention matrices and gradients. Writes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from vlm_demo.contracts import PatchFeatures, View
from vlm_demo.errors import BadQuestion
from vlm_demo.explain.methods.flow import flow
from vlm_demo.explain.methods.relevancy import relevance
from vlm_demo.runtime import attention_tap

if TYPE_CHECKING:
    from vlm_demo.models.adapters import Family
    from vlm_demo.runtime.cancellation import CancellationHooks
    from vlm_demo.runtime.scorer import Scorer
    from vlm_demo.stages.view import ViewMaker


class ItmRelevancy:
    """View, encoder and scorer of a pipeline."""

    def __init__(self, family: Family, guard: CancellationHooks, scorer: Scorer, view: ViewMaker) -> None:
        self.family, self.guard, self.scorer, self.view = family, guard, scorer, view

    def match(self, view: View, text: str) -> float | None:
        """How well a text fits a picture, 0..1: the probability of the head that reads both together, or else their
        cosine, never below 0; None for a text that is empty or too long."""
        try:
            coded = self.scorer.read([text])
        except BadQuestion:
            return None
        patches = PatchFeatures(self._features(view))
        probability = self.scorer.matches(patches, coded)
        return float((self.scorer.similarities(patches, coded) if probability is None else probability)[0].clamp(0, 1))

    def _features(self, view: View) -> torch.Tensor:
        pixels = self.view.with_pixels(view).pixel_values
        return self.guard.run(lambda: self.family.encode(pixels))

    def relevancy(self, view: View, text: str) -> np.ndarray:
        """How much each patch contributes to the match: float32 [patches] of the view, never below 0.

        R ← R + E_h((∇A ⊙ A)⁺) R through the encoder's layers, the gradient that of the cosine (Chefer et al. 2021,
        https://arxiv.org/abs/2103.15679). The row that is followed begins where the cosine is read from: at the CLS
        token of CLIP; where heads gather all patches, at each as far as |gradient · feature| says it counts.

        Raises:
            BadQuestion: the text is empty or too long.
        """
        coded = self.scorer.read([text])
        matcher, layers = self.scorer.matcher, self.family.encoder_layers
        pixels = self.view.with_pixels(view).pixel_values

        def read() -> np.ndarray:
            text_vectors = matcher.texts(coded.ids, coded.mask)
            with torch.enable_grad(), attention_tap.installed(layers), attention_tap.whole() as matrices:
                features = self.family.encode(pixels.detach().clone().requires_grad_())
                weights = [rows for _, rows in matrices.layers]
                cosine = (matcher.picture(features) @ text_vectors.T).max()
            gradients = torch.autograd.grad(cosine, [features, *weights])
            token_weights = (gradients[0] * features.detach()).float().sum(-1).abs()[0]
            layer_relevances = [
                (relevance(rows.detach()[0], gradient[0]), False)
                for rows, gradient in zip(weights, gradients[1:], strict=True)
            ]
            start = token_weights / token_weights.sum().clamp(min=1e-12)
            return flow(layer_relevances, start, range(self.family.leading_tokens, len(start)), 1.0, 1.0)

        return self.guard.run(read)
