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
        """Bring patch features into the space of the language model's embeddings.

        Args:
            patches: features [tiles of all pictures, patches, d_vision].
            prompt: what was asked, for bridges that gather what the question needs; others look at the pictures alone.
        Returns:
            ImageTokens with embeddings [tokens of all pictures, d_llm], the number of tokens of each picture, and where
            tokens are no patches, what each of them has looked at.
        Raises:
            Stopped: ``cancelled()`` turned True.
        """
        listened = attention_tap.recording(None, last=None, only=self.family.bridge_attentions)
        with self.guard.computing(cancelled, gives_way=True), listened as recorder:
            asked = (prompt,) if self.family.bridge_reads else ()
            tokens, deep = self.family.bridge(patches, *asked), None
            if isinstance(tokens, tuple):
                tokens, deep = tokens
        counts = tuple(len(own) for own in tokens)
        rows = recorder.rows()
        looks = rows.image.mean((1, 2)).unflatten(0, (len(counts), counts[0])) if rows else None
        grids = tuple(view.grid for view in patches.views)
        return ImageTokens(torch.cat(list(tokens)), counts, looks, deep, grids)
