"""Yes or no: how often a model that is asked "Is there a …?" answers yes about what is not there.

The figures of POPE (Li et al. 2023, https://arxiv.org/abs/2305.10355, section 5): accuracy alone flatters a model that
always answers the more frequent word, so the F1 of "yes" and the share of yeses are given too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

YES, NO = "yes", "no"


@dataclass
class YesNo:
    """A running count over questions whose right answer is yes or no.

    Attributes:
        hits: right yeses.
        false_alarms: yeses where no is right.
        misses: things that are there and were not answered with yes.
        rejections: no yes where no is right, be it a no or another word.
    """

    hits: int = 0
    false_alarms: int = 0
    misses: int = 0
    rejections: int = 0

    @staticmethod
    def fits(accepted: Sequence[str]) -> bool:
        """Whether the accepted answers leave nothing but yes or nothing but no."""
        return len(accepted) == 1 and accepted[0].strip().lower() in (YES, NO)

    def add(self, accepted: Sequence[str], prediction: str) -> None:
        """Count one answer."""
        present, yes = accepted[0].strip().lower() == YES, prediction.strip().lower().startswith(YES)
        self.hits += present and yes
        self.false_alarms += yes and not present
        self.misses += present and not yes
        self.rejections += not present and not yes

    def __add__(self, other: YesNo) -> YesNo:
        return YesNo(
            self.hits + other.hits,
            self.false_alarms + other.false_alarms,
            self.misses + other.misses,
            self.rejections + other.rejections,
        )

    @property
    def n(self) -> int:
        return self.hits + self.false_alarms + self.misses + self.rejections

    def as_dict(self) -> dict[str, Any]:
        """n, and as fractions 0..1 accuracy, precision, recall, f1 (None where there is nothing to divide by),
        yes_ratio, and what the yes-ratio should be. For all of them an answer is a yes where it begins with one."""
        yes, present = self.hits + self.false_alarms, self.hits + self.misses
        return {
            "n": self.n,
            "accuracy": (self.hits + self.rejections) / self.n if self.n else None,
            "precision": self.hits / yes if yes else None,
            "recall": self.hits / present if present else None,
            "f1": 2 * self.hits / (yes + present) if yes + present else None,
            "yes_ratio": yes / self.n if self.n else None,
            "true_yes_ratio": present / self.n if self.n else None,
        }
