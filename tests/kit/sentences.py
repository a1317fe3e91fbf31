"""What people are told when something is refused."""

from __future__ import annotations

import pytest


def sentence(caught: pytest.ExceptionInfo) -> str:
    """What was said, which has to be one sentence on one line."""
    said = str(caught.value)
    assert said.endswith(".") and "\n" not in said and "Traceback" not in said
    return said
