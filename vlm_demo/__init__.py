"""Glass-box vision-language chat: ``from vlm_demo import Pipeline``, and ``Turn`` for what was said before.

Importing the package is cheap: torch and transformers are loaded when ``Pipeline`` is first asked for. After it
transformers itself loads the embedded models' folders too, for it then knows their vision tower (``registration``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlm_demo.models import registration

if TYPE_CHECKING:
    from vlm_demo.contracts import Turn
    from vlm_demo.pipeline import Pipeline

__all__ = ["Pipeline", "Turn"]

registration.install()


def __getattr__(name: str) -> Any:
    if name == "Pipeline":
        from vlm_demo.pipeline import Pipeline

        return Pipeline
    if name == "Turn":
        from vlm_demo.contracts import Turn

        return Turn
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
