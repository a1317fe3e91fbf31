"""Options: what several commands ask for alike on the command line, and the loading that they share.

Nothing heavy is imported before the arguments have been understood.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vlm_demo import trust
from vlm_demo.errors import OcrUnavailable, VlmDemoError

if TYPE_CHECKING:
    from vlm_demo import Pipeline

PRECISIONS = ("none", "8bit", "4bit")


def command(name: str, description: str) -> argparse.ArgumentParser:
    """The parser of one command."""
    return argparse.ArgumentParser(prog=f"python -m vlm_demo {name}", description=description)


def add_model(parser: argparse.ArgumentParser, model: str = "llava") -> None:
    """Which model, and how it is loaded; ``model`` is the default."""
    parser.add_argument(
        "--model", default=model, metavar="NAME|FOLDER|HUB_ID", help="an embedded model, a folder, or a hub id"
    )
    parser.add_argument("--quantize", choices=PRECISIONS, default="none", help="load the weights in 8 or 4 bit")
    parser.add_argument("--device", metavar="DEVICE", help="cpu, cuda, ...; default: the best there is")
    trust.add_flags(parser)


def add_prompt(parser: argparse.ArgumentParser) -> None:
    """What goes into the prompt beside the question."""
    parser.add_argument("--ocr", action="store_true", help="give the model the text that Tesseract reads")
    parser.add_argument("--evidence-only", action="store_true", help="tell it to say unknown where it can't see")


def positive(text: str) -> int:
    """A number that is at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def load(options: argparse.Namespace) -> Pipeline:
    """The pipeline that the options ask for; on a terminal, one line on stderr says what is being waited for."""
    shown = ""
    allowed = trust.of(options)
    trust.warn(allowed, options.model)

    def progress(fraction: float | None, text: str) -> None:
        nonlocal shown
        said = text if fraction is None else f"{text} {fraction:.0%}"
        print(f"\r{said:<{len(shown)}}", end="", file=sys.stderr, flush=True)
        shown = said

    tell = progress if sys.stderr.isatty() else None
    if tell:
        tell(None, f"Loading {options.model}")  # importing torch alone takes seconds
    try:
        from vlm_demo import Pipeline
        from vlm_demo.models import loading

        announced = loading.announcement(options.model)
        if announced:
            print(f"\r{announced:<{len(shown)}}", file=sys.stderr, flush=True)
        return Pipeline.from_pretrained(
            options.model, quantize=options.quantize, device=options.device, progress=tell, trust=allowed
        )
    finally:
        if shown:
            print("\r" + " " * len(shown) + "\r", end="", file=sys.stderr, flush=True)


def check_writable(path: Path) -> None:
    """Say at once, not after a minute's work, that a file can't be written there.

    Raises:
        VlmDemoError: says why.
    """
    if path.is_dir():
        raise VlmDemoError(f"{path} is a folder; name a file.")
    if not path.parent.is_dir():
        raise VlmDemoError(f"There is no folder {path.parent} to write {path.name} into; make it first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise VlmDemoError(f"{path} can't be written; choose another place.")


def require_ocr() -> None:
    """Say at once that no text can be read here.

    Raises:
        OcrUnavailable: says what is missing.
    """
    from vlm_demo.runtime.tesseract import available

    missing = available()
    if missing:
        raise OcrUnavailable(missing)
