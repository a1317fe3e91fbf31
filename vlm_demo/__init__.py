"""Glass-box vision-language chat: ``from vlm_demo import Pipeline``, and what it takes, gives and raises.

Importing the package is cheap: torch and transformers are loaded when ``Pipeline`` is first asked for. After it
transformers itself loads the embedded models' folders too, as it then knows their vision tower (``registration``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vlm_demo.models import registration

if TYPE_CHECKING:
    from vlm_demo.contracts import (
        Check,
        Memory,
        OcrResult,
        Prompt,
        Scores,
        StageEvent,
        Timings,
        Token,
        TokenEvent,
        Turn,
        View,
        Word,
    )
    from vlm_demo.contracts.answer import Answer
    from vlm_demo.contracts.sampling import Sampling
    from vlm_demo.errors import (
        BadImage,
        BadQuestion,
        BadSetting,
        ImageTokensMismatch,
        ModelNotFound,
        OcrUnavailable,
        PromptTooLong,
        QuantizationUnavailable,
        Stopped,
        UnsupportedModel,
        VlmDemoError,
        WordNotInAnswer,
    )
    from vlm_demo.pipeline import Pipeline
    from vlm_demo.trust import Trust

__all__ = [
    "Answer",
    "BadImage",
    "BadQuestion",
    "BadSetting",
    "Check",
    "ImageTokensMismatch",
    "Memory",
    "ModelNotFound",
    "OcrResult",
    "OcrUnavailable",
    "Pipeline",
    "Prompt",
    "PromptTooLong",
    "QuantizationUnavailable",
    "Sampling",
    "Scores",
    "StageEvent",
    "Stopped",
    "Timings",
    "Token",
    "TokenEvent",
    "Trust",
    "Turn",
    "UnsupportedModel",
    "View",
    "VlmDemoError",
    "Word",
    "WordNotInAnswer",
]

# The modules that the names come from; a name that isn't listed comes from the first of the others that has it.
_HOMES = {"Pipeline": "pipeline", "Answer": "contracts.answer", "Sampling": "contracts.sampling", "Trust": "trust"}
_OTHERS = ("errors", "contracts")

registration.install()


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for home in (_HOMES[name],) if name in _HOMES else _OTHERS:
        module = import_module(f"{__name__}.{home}")
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has lost {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
