"""`python -m vlm_demo doctor`: what this machine has, as lines for a person. Loads the model and runs it once.

Knows how to get each part's version; decides nothing.
"""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

from vlm_demo.cli import options
from vlm_demo.cli.command import Command, application
from vlm_demo.errors import VlmDemoError
from vlm_demo.trust import Trust

if TYPE_CHECKING:
    from vlm_demo.engines.local import LocalEngine

app = application()
SET_UP = "run `make demo`, which installs requirements.txt"


@app.command(cls=Command)
def doctor(
    model: options.Model = "llava",
    quantize: options.Quantize = "none",
    device: options.Device = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
) -> int:
    """Report what is installed, and whether the model loads and answers."""
    model_options = options.ModelOptions(model, quantize, device, Trust(trust_remote_code, allow_pickle))
    return 0 if report(lambda: options.load(model_options), model) else 1


def report(load: Callable[[], LocalEngine], model: str) -> bool:
    """Print a line for each part, what is missing and the next step; True if the model of that name works."""
    _line("python", platform.python_version())
    for package in ("torch", "transformers", "gradio"):
        _line(package, _version(package) or f"missing: {SET_UP}")
    _line("bitsandbytes", _version("bitsandbytes") or f"missing, so no --quantize 8bit or 4bit: {SET_UP}")
    _line("tesseract", _tesseract())
    try:
        from PIL import Image

        from vlm_demo.contracts.engine import Request, answered

        engine = load()
        picture = Image.new("RGB", (64, 64), "red")
        writes = engine.capabilities.writes
        if writes:
            answered(engine.stream(Request((picture,), "What colour is the picture?", max_new_tokens=4)))
        else:
            engine.score(picture, ["a red picture"])
    except VlmDemoError as error:
        _line("model", f"{model} can't answer: {error}")
        return False
    except ModuleNotFoundError as error:
        _line("model", f"{model} can't answer: the package {error.name} is missing; {SET_UP}")
        return False
    ability = "answers" if writes else "compares pictures with texts"
    memory = engine.memory()
    count = f"{engine.parameters / 1e6:.1f} million; " if engine.parameters else ""
    _line("model", f"{engine.name} ({engine.family}), {engine.precision} on {engine.device}, {ability}")
    _line("parameters", f"{count}{_bytes(memory.parameter_bytes)} with buffers")
    _line("heatmaps", "yes" if engine.capabilities.explains else "no: this model gives no attention to draw")
    _line("memory", _memory(memory.process_bytes))
    return True


def _line(name: str, text: str) -> None:
    print(f"{name:<13} {text}", flush=True)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _tesseract() -> str:
    """The first line of `tesseract --version`, or a sentence on how to install it."""
    try:
        from vlm_demo.runtime.tesseract import available, installed, program

        missing = available()
        if missing:
            return f"missing, so no --ocr: {missing}"
        version = subprocess.run([program(), "--version"], capture_output=True, text=True, timeout=10)
        languages = ", ".join(installed())
    except ModuleNotFoundError as error:
        return f"the package {error.name} is missing: {SET_UP}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not run: {error}"
    first = (version.stdout or version.stderr).splitlines()[0].removeprefix("tesseract ")
    return f"{first}; reads {languages}"


def _memory(process_bytes: int) -> str:
    import psutil
    import torch

    free = f"{_bytes(psutil.virtual_memory().available)} free, {_bytes(process_bytes)} taken by this process"
    if torch.cuda.is_available():
        on_card, _total = torch.cuda.mem_get_info()
        free += f"; {_bytes(on_card)} free on the graphics card"
    return free


def _bytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
