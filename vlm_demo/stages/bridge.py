"""Bridge: patch features → image tokens that the language model can read, "the translator".

Knows shapes and nothing else: not where the pixels came from, not what will be asked about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlm_demo.contracts import ImageTokens, Patches
from vlm_demo.explain import tap

if TYPE_CHECKING:
    from vlm_demo.models.families import Writer
    from vlm_demo.stages.guard import Cancelled, Guard


class Bridge:
    """Projector, Q-Former or nothing at all, as a station."""

    def __init__(self, family: Writer, guard: Guard) -> None:
        self.family, self.guard = family, guard

    def __call__(self, patches: Patches, cancelled: Cancelled | None = None) -> ImageTokens:
        """Translate the camera's notes.

        Args:
            patches: features [pictures, patches, d_vision].
        Returns:
            ImageTokens with embeddings [tokens of all pictures, d_llm], the number of tokens of each picture, and where
            tokens are no patches, what each of them has looked at.
        Raises:
            Stopped: ``cancelled()`` turned True.
        """
        listened = tap.recording(None, last=None, only=self.family.bridge_attentions)
        with self.guard.computing(cancelled), listened as recorder:
            tokens = self.family.bridge(patches.features)
        pictures, count = tokens.shape[:2]
        rows = recorder.rows()
        looks = rows.image.mean((1, 2)).unflatten(0, (pictures, count)) if rows else None
        return ImageTokens(tokens.flatten(0, 1), (count,) * pictures, looks)
