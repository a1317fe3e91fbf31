"""Bridge: patch features → image tokens that the language model can read, "the translator".

Knows shapes and nothing else: not where the pixels came from, not what will be asked about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlm_demo.contracts import ImageTokens, Patches

if TYPE_CHECKING:
    from vlm_demo.models.families import Family
    from vlm_demo.stages.guard import Cancelled, Guard


class Bridge:
    """The projector as a station."""

    def __init__(self, family: Family, guard: Guard) -> None:
        self.family, self.guard = family, guard

    def __call__(self, patches: Patches, cancelled: Cancelled | None = None) -> ImageTokens:
        """Translate the camera's notes.

        Args:
            patches: features [pictures, patches, d_vision].
        Returns:
            ImageTokens with embeddings [tokens of all pictures, d_llm] and the number of tokens of each picture.
        Raises:
            Stopped: ``cancelled()`` turned True.
        """
        with self.guard.computing(cancelled):
            tokens = self.family.bridge(patches.features)
            return ImageTokens(tokens.flatten(0, 1), (tokens.shape[1],) * tokens.shape[0])
