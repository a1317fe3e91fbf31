"""Scorer: a picture's features + some texts → how well each text fits.

Writes nothing and knows no chat. Control strings in people's texts are ordinary text here too.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from vlm_demo.contracts import PatchFeatures
from vlm_demo.errors import BadQuestion

if TYPE_CHECKING:
    from vlm_demo.models.adapters import Matcher
    from vlm_demo.runtime.cancellation import CancellationHooks, Cancelled


AT_ONCE = 64  # texts of one forward pass: all of a thousand would fill the memory


@dataclass(frozen=True)
class Texts:
    """Tokenized texts: ``ids`` int64 [texts, length], padded on the right, and ``mask`` likewise, 1 on what is text."""

    ids: torch.Tensor
    mask: torch.Tensor

    def parts(self) -> Iterator[Texts]:
        """The same, ``AT_ONCE`` at a time."""
        for ids, mask in zip(self.ids.split(AT_ONCE), self.mask.split(AT_ONCE), strict=True):
            yield Texts(ids, mask)


class Scorer:
    """Tokenizer and matcher of a checkpoint as a stage, in three steps that can be called alone."""

    def __init__(self, matcher: Matcher, tokenizer: Any, guard: CancellationHooks) -> None:
        self.matcher, self.guard = matcher, guard
        text_tokenizer = tokenizer if matcher.tokenizer is None else matcher.tokenizer
        self.tokenizer, self._lock = copy.deepcopy(text_tokenizer), threading.Lock()

    def read(self, texts: Sequence[str]) -> Texts:
        """Tokenize.

        Raises:
            BadQuestion: there is no text, one is empty, or one is longer than the model reads.
        """
        if not texts or not all(text.strip() for text in texts):
            raise BadQuestion("There is no text to compare, or one is empty: give at least one word in each.")
        coded = [self._coded(text) for text in texts]
        longest = max(coded, key=len)
        if len(longest) > self.matcher.longest:
            text = texts[coded.index(longest)]
            raise BadQuestion(
                f"The text “{text[:40]}…” is {len(longest)} tokens long, but this model reads {self.matcher.longest}: "
                "shorten it."
            )
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor(
            [encoded + [pad] * (len(longest) - len(encoded)) for encoded in coded], device=self.guard.device
        )
        lengths = torch.tensor([len(encoded) for encoded in coded], device=self.guard.device)
        places = torch.arange(len(longest), device=self.guard.device)
        return Texts(ids, (places < lengths[:, None]).long())

    def similarities(self, patches: PatchFeatures, texts: Texts, cancelled: Cancelled | None = None) -> torch.Tensor:
        """Cosines float32 [texts] with the picture; of its several vectors the nearest one counts.

        Raises:
            Stopped: ``cancelled()`` turned True.
        """

        def compare() -> torch.Tensor:
            picture = self.matcher.picture(patches.features)
            cosines = [picture @ self.matcher.texts(part.ids, part.mask).T for part in texts.parts()]
            return torch.cat(cosines, 1).max(0).values.cpu()

        return self.guard.run(compare, cancelled)

    def probabilities(self, similarities: torch.Tensor) -> torch.Tensor:
        """The softmax [texts] of similarity / temperature."""
        return (similarities / self.matcher.temperature).softmax(-1)

    def matches(self, patches: PatchFeatures, texts: Texts, cancelled: Cancelled | None = None) -> torch.Tensor | None:
        """The probability float32 [texts] that each text, by itself, fits; None where the model has no head for it.

        Raises:
            Stopped: ``cancelled()`` turned True.
        """

        def match() -> torch.Tensor | None:
            parts = (self.matcher.matches(patches.features, part.ids, part.mask) for part in texts.parts())
            found = [part for part in parts if part is not None]
            return torch.cat(found).cpu() if found else None

        return self.guard.run(match, cancelled)

    def _coded(self, text: str) -> list[int]:
        """The ids of a text with what the tokenizer puts around it; where it puts nothing, its first and last token."""
        with self._lock:
            ids, around = (list(self.tokenizer(given, split_special_tokens=True)["input_ids"]) for given in (text, ""))
        if around:
            return ids
        first, last = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        return [token for token in (first, *ids, last) if token is not None]
