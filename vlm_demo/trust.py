"""Trust: what of a checkpoint may run on this machine. Nothing, unless a flag asks for it.

Cheap to import: the flags are read before anything heavy is loaded.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TextIO

REMOTE_CODE = "--trust-remote-code"
PICKLE = "--allow-pickle"
REMOTE_CODE_HELP = "run the Python files that come with --model, with all your rights"
PICKLE_HELP = "open weights that are no safetensors, where --model has none"


@dataclass(frozen=True)
class Trust:
    """What a person allowed.

    Attributes:
        remote_code: Python files that come with the weights are run.
        pickle: weights in PyTorch's older format are opened where there are no safetensors.
    """

    remote_code: bool = False
    pickle: bool = False


NONE = Trust()


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The two flags, off by default."""
    parser.add_argument(REMOTE_CODE, action="store_true", help=REMOTE_CODE_HELP)
    parser.add_argument(PICKLE, action="store_true", help=PICKLE_HELP)


def of(flags: argparse.Namespace) -> Trust:
    """What the flags allow."""
    return Trust(flags.trust_remote_code, flags.allow_pickle)


def warn(trust: Trust, model: str, file: TextIO | None = None) -> None:
    """Say on the terminal what was allowed, and what that means."""
    file = file or sys.stderr
    if trust.remote_code:
        print(
            f"Warning: {REMOTE_CODE} runs whatever Python files come with {model}, with all your rights; use it only "
            "for a checkpoint whose code you have read.",
            file=file,
        )
    if trust.pickle:
        print(
            f"Warning: {PICKLE} opens weights of {model} in a format that has been misused to run code; use it only "
            "for a checkpoint whose owner you trust.",
            file=file,
        )
