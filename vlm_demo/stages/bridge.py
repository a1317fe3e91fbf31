"""Bridge: patch features → image tokens that the language model can read.

Knows shapes and nothing else: not where the pixels came from, and, but for bridges that read it, not what is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vlm_demo.contracts import ImageTokens, PatchFeatures, Prompt
from vlm_demo.runtime import attention_tap

if TYPE_CHECKING:
    from vlm_demo.models.adapters import Writer
    from vlm_demo.runtime.cancellation import CancellationHooks, Cancelled


class Bridge:
    """Projector, Q-Former or nothing at all, callable alone."""

    def __init__(self, family: Writer, guard: CancellationHooks) -> None:
        self.family, self.guard = family, guard

    @property
    def reads_prompt(self) -> bool:
        """Whether its tokens depend on the question."""
        return self.family.bridge_reads

    def __call__(
        self, patches: PatchFeatures, cancelled: Cancelled | None = None, prompt: Prompt | None = None
    ) -> ImageTokens:
        """Project patch features into the language model's embedding space.

        Args:
            patches: features [tiles of all pictures, patches, d_vision].
            prompt: what was asked, for bridges that gather what the question needs; others look at the pictures alone.
        Returns:
            ImageTokens with embeddings [tokens of all pictures, d_llm], the number of tokens of each picture, and where
            tokens are no patches, how much each of them attended to each patch.
        Raises:
            Stopped: ``cancelled()`` turned True.
        """
        prompt_arguments = (prompt,) if self.family.bridge_reads else ()
        with attention_tap.recording(None, last=None, only=self.family.bridge_attentions) as recorder:
            tokens = self.guard.run(lambda: self.family.bridge(patches, *prompt_arguments), cancelled, gives_way=True)
        tokens, deep = tokens if isinstance(tokens, tuple) else (tokens, None)
        counts = tuple(len(picture_tokens) for picture_tokens in tokens)
        rows = recorder.rows()
        patch_weights = rows.image.mean((1, 2)).unflatten(0, (len(counts), counts[0])) if rows else None
        grids = tuple(view.grid for view in patches.views)
        return ImageTokens(torch.cat(list(tokens)), counts, patch_weights, deep, grids)
