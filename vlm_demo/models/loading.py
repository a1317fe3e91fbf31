"""Loading: a name → a checkpoint ready to be composed. Embedded name, local folder, or an id on the Hugging Face hub.

Safetensors only and never a checkpoint's own code: loading runs nothing that came with the weights.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from vlm_demo.errors import ModelNotFound, QuantizationUnavailable, UnsupportedModel, VlmDemoError
from vlm_demo.models import quantization
from vlm_demo.models.families import adapter_of

EMBEDDED = Path(__file__).parents[2] / "assets" / "models"
CATALOG = Path(__file__).with_name("catalog.json")
WANTED = ("*.json", "*.jinja", "*.safetensors", "*.model", "*.txt")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# These speak of kernels and packages that change nothing for the person who waits for an answer.
CHATTY = ("transformers", "bitsandbytes.backends.cpu.ops", "bitsandbytes.cextension", "huggingface_hub")
# How torch, safetensors and CUDA say it; most of their errors are plain RuntimeErrors.
NO_MEMORY = re.compile(r"out of memory|(can't|cannot) allocate memory", re.IGNORECASE)

Progress = Callable[[float | None, str], None]


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory.

    Attributes:
        name: as it is shown: the embedded name, the folder's name, or the hub id.
        folder: where its files lie.
        model: the transformers model, in eval mode.
        family: its adapter, a ``families.Family`` or ``families.Writer``.
        tokenizer, image_processor: the checkpoint's own.
        template: the chat template, Jinja; empty for a model that writes nothing.
        precision: bf16, fp16, fp32, 8bit or 4bit.
        device: where the language model computes.
    """

    name: str
    folder: Path
    model: Any
    family: Any
    tokenizer: Any
    image_processor: Any
    template: str
    precision: str
    device: torch.device


def load(name: str, quantize: str = "none", device: str | None = None, progress: Progress | None = None) -> Loaded:
    """Find, check and load a checkpoint.

    Args:
        name: an embedded model's name, a folder, or a hub id.
        quantize: ``none``, ``8bit`` or ``4bit``.
        device: of torch; None = the first CUDA device, or else the CPU.
        progress: called with a fraction 0..1 (None = unknown) and a few words.
    Raises:
        ModelNotFound: no such name, no model in the folder, or the hub cannot deliver it.
        UnsupportedModel: no adapter for its class, or its files cannot be loaded.
        QuantizationUnavailable: see ``quantization.config_for``.
        VlmDemoError: there is no such device, too little memory, or a torchvision that is broken.
    """
    tell = progress or (lambda _fraction, _text: None)
    tell(None, "Looking for the model")
    with quiet():
        check_torchvision()
        quantization.config_for(quantize, ())  # complain before anything is downloaded
        folder, shown = resolve(name, tell)
        adapter = adapter_of(_config(folder, shown))
        if quantize != "none" and not adapter.writes:
            raise QuantizationUnavailable(
                f"{shown} has no language model, the one part that is quantized here: load it without quantization."
            )
        where = _device(device)
        tell(None, f"Loading {shown}")
        model = _model(folder, shown, adapter, quantize, where)
        tokenizer, image_processor = _processors(folder, shown)
        family = adapter(model, folder, tokenizer)
    tell(1.0, f"{shown} is ready")
    precision = quantization.precision_of(model, quantize)
    template = (_template(folder, shown, tokenizer) or adapter.fallback_template) if adapter.writes else ""
    return Loaded(shown, folder, model, family, tokenizer, image_processor, template, precision, where)


def check_torchvision() -> None:
    """Nothing here needs torchvision, but one that is installed and broken breaks transformers.

    Raises:
        VlmDemoError: it is.
    """
    if find_spec("torchvision") is None:
        return
    try:
        import torchvision  # noqa: F401
    except Exception as error:  # a missing operator, a missing library, another version of torch
        raise VlmDemoError(
            "The torchvision that is installed does not load beside this torch, and transformers fails with it: remove "
            "it with `pip uninstall torchvision` (nothing here needs it), or install the one made for this torch."
        ) from error


def embedded_names() -> list[str]:
    """The models that are part of this project."""
    return sorted(folder.parent.name for folder in EMBEDDED.glob("*/config.json"))


def catalog() -> list[dict[str, Any]]:
    """The models that can be had, with their sizes: of ``catalog.json`` those on the hub, and the embedded ones whose
    checkpoint is there."""
    there = embedded_names()
    listed = json.loads(CATALOG.read_text(encoding="utf-8"))
    return [entry for entry in listed if "/" in entry["id"] or entry["id"] in there]


def resolve(name: str, tell: Progress) -> tuple[Path, str]:
    """A model's name → its folder (downloaded if it is a hub id) and how to call it.

    Raises:
        ModelNotFound: one sentence for each way in which there is none.
    """
    # os.path says no where pathlib raises: to a name that is too long, a folder that is locked, an unknown ~user.
    if "/" not in name and os.path.isfile(EMBEDDED / name / "config.json"):
        return EMBEDDED / name, name
    folder = Path(os.path.expanduser(name))
    if name and os.path.isdir(folder):
        if not os.path.isfile(folder / "config.json"):
            raise ModelNotFound(f"The folder {name} holds no model (no config.json): name a checkpoint's folder.")
        return folder, folder.resolve().name
    if os.path.isfile(folder):
        raise ModelNotFound(f"{name} is a file: name the checkpoint's folder, which holds config.json and the weights.")
    if HUB_ID.fullmatch(name) and not name.startswith((".", "~")):
        return _download(name, tell), name
    known = ", ".join(embedded_names()) or "none yet"
    raise ModelNotFound(
        f"There is no model {name}: choose an embedded one ({known}), a checkpoint's folder, or a hub id as OWNER/NAME."
    )


def _download(name: str, tell: Progress) -> Path:
    """Fetch a hub checkpoint into the local cache: the config first, so that nothing is fetched for nothing."""
    import httpx2
    from huggingface_hub import errors, snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=["config.json"]))
        if not (folder / "config.json").is_file():
            raise ModelNotFound(f"{name} on the hub holds no model (no config.json): choose another one.")
        adapter_of(_config(folder, name))
        return Path(snapshot_download(name, allow_patterns=list(WANTED), tqdm_class=_bar(name, tell)))
    except errors.GatedRepoError as error:
        raise ModelNotFound(
            f"The hub gives {name} only to people who accepted its licence: accept it on the model's page, then log in "
            "with `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotFound(
            f"The hub has no model {name}, or it is private: check the spelling, or log in with `hf auth login`."
        ) from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, httpx2.TransportError, OSError) as error:
        if isinstance(error, OSError) and error.errno == 28:
            raise ModelNotFound(f"The disk is too full to download {name}: free some space and try again.") from error
        known = ", ".join(embedded_names()) or "a checkpoint's folder"
        raise ModelNotFound(
            f"{name} is not on this machine and the hub cannot be reached: check the connection, or choose {known}."
        ) from error
    except errors.HFValidationError as error:
        raise ModelNotFound(f"{name} is no valid hub id: it has the form OWNER/NAME.") from error


def _bar(name: str, tell: Progress) -> type:
    """A progress bar class for ``snapshot_download`` that reports to ``tell`` and draws nothing."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            self.of_bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **{**kwargs, "disable": False, "file": _Nowhere()})

        def update(self, n: float | None = 1) -> bool | None:
            drawn = super().update(n)
            if self.of_bytes and self.total:
                done = f"{self.n / 1e9:.2f} of {self.total / 1e9:.2f} GB"
                tell(min(1.0, self.n / self.total), f"Downloading {name}: {done}")
            return drawn

    return Bar


class _Nowhere:
    """A file that forgets."""

    def write(self, _text: str) -> None: ...

    def flush(self) -> None: ...


def _config(folder: Path, shown: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, KeyError, OSError) as error:
        raise UnsupportedModel(
            f"The config.json of {shown} is damaged or of a kind unknown to transformers: choose another model."
        ) from error


def _model(folder: Path, shown: str, adapter: type[Any], quantize: str, device: torch.device) -> Any:
    options: dict[str, Any] = {"dtype": "auto", "use_safetensors": True, "trust_remote_code": False}
    configured = quantization.config_for(quantize, adapter.keep_unquantized)
    if configured is not None:
        options |= {"quantization_config": configured, "device_map": {"": str(device)}}
    if not adapter.as_a_whole:
        options["attn_implementation"] = "sdpa"
    try:
        model, report = adapter.model_class().from_pretrained(folder, output_loading_info=True, **options)
        if report["missing_keys"]:
            # transformers would fill them with random numbers, and the model would talk nonsense without a word.
            count = len(report["missing_keys"])
            raise UnsupportedModel(f"{count} weights of {shown} are missing: fetch the model again.")
        if configured is None:
            model = model.to(device)
    except (MemoryError, OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or NO_MEMORY.search(str(error)):
            raise VlmDemoError(_too_large(shown, quantize, device)) from error
        raise UnsupportedModel(_unloadable(shown, folder)) from error
    quantization.check_shapes(model, device)
    return model.eval()


def _unloadable(shown: str, folder: Path) -> str:
    if not any(folder.glob("*.safetensors")):
        return f"{shown} has no weights in safetensors files: choose a checkpoint that was saved in this format."
    return f"The weights of {shown} are damaged or do not fit its config.json: fetch the checkpoint again."


def _too_large(shown: str, quantize: str, device: torch.device) -> str:
    way_out = "choose a smaller model" if quantize == "4bit" else "load it in 4bit, or choose a smaller model"
    return f"{shown} does not fit into the memory of this machine's {device}: {way_out}."


def _processors(folder: Path, shown: str) -> tuple[Any, Any]:
    from transformers import AutoImageProcessor, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        image_processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False, backend="pil")
    except Exception as error:  # many kinds of missing or damaged file, one meaning
        raise UnsupportedModel(
            f"The tokenizer or image processor of {shown} is missing or damaged: fetch the checkpoint again."
        ) from error
    return tokenizer, image_processor


def _template(folder: Path, shown: str, tokenizer: Any) -> str | None:
    """The checkpoint's chat template. A processor's goes before the tokenizer's, which may know no pictures."""
    for file in ("chat_template.jinja", "chat_template.json", "processor_config.json"):
        if not (folder / file).is_file():
            continue
        try:
            text = (folder / file).read_text(encoding="utf-8")
            held = text if file.endswith(".jinja") else json.loads(text).get("chat_template")
        except (OSError, ValueError, AttributeError) as error:  # unreadable, no JSON, no JSON object
            raise UnsupportedModel(f"The {file} of {shown} is damaged: fetch the checkpoint again.") from error
        if isinstance(held, str):
            return held
    held = getattr(tokenizer, "chat_template", None)
    return held.get("default") if isinstance(held, dict) else held


def _device(asked: str | None) -> torch.device:
    try:
        device = torch.device(asked or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except Exception as error:  # unknown name, or a device that is not there
        raise VlmDemoError(f"There is no device {asked} here: leave it out, or say cpu.") from error
    return device


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' remarks from the person while something loads."""
    from transformers.utils import logging as transformers_logging

    loggers = [logging.getLogger(name) for name in CHATTY]
    levels = [logger.level for logger in loggers]
    bars = transformers_logging.is_progress_bar_enabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()
