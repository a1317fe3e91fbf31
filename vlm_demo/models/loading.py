"""Loading: a name → a checkpoint ready to be composed. Embedded name, local folder, or an id on the Hugging Face hub.

Safetensors only and never a checkpoint's own code: loading runs nothing that came with the weights, unless ``Trust``
allows it.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from vlm_demo import shipped as shipped_files
from vlm_demo.errors import BadSetting, ModelNotFound, QuantizationUnavailable, VlmDemoError
from vlm_demo.models import catalog as catalogue
from vlm_demo.models import checkpoint_files, download, embedded, quantization, refusals, weights
from vlm_demo.models.adapters import adapter_of, of_family
from vlm_demo.models.adapters.generate_only import Trusted
from vlm_demo.models.builders import RECIPE, read_recipe
from vlm_demo.models.catalog import Entry
from vlm_demo.models.download import Progress
from vlm_demo.trust import NONE, Trust

EMBEDDED = shipped_files.folder("models")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
REVISION = re.compile(r"(?!.*\.\.)\w[\w./-]*")  # a commit, branch or tag; it becomes part of a path in the hub's cache
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
DEVICE_MAPS = ("auto", "cpu", "cuda")
# These log messages about kernels and packages that change nothing for the person who waits for an answer.
NOISY_LOGGERS = ("transformers", "bitsandbytes.backends.cpu.ops", "bitsandbytes.cextension", "huggingface_hub")
# The class that the checkpoint's own code must define to be run.
AUTO_CLASS = "AutoModelForImageTextToText"


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory.

    Attributes:
        name: as it is shown: the embedded name, the folder's name, or the hub id.
        folder: where its files lie.
        settings_folder: the folder that what is fitted to it is written to: ``folder``, or that of the recipe which it
            is put together from.
        model: the transformers model, in eval mode.
        family: its adapter, an ``adapters.Family`` or ``adapters.Writer``.
        tokenizer, image_processor: the checkpoint's own.
        template: the chat template, Jinja; empty for a model that writes nothing.
        precision: bf16, fp16, fp32, 8bit or 4bit.
        device: where the language model computes.
    """

    name: str
    folder: Path
    settings_folder: Path
    model: Any
    family: Any
    tokenizer: Any
    image_processor: Any
    template: str
    precision: str
    device: torch.device


def load(
    name: str,
    quantize: str = "none",
    device: str | None = None,
    progress: Progress | None = None,
    trust: Trust = NONE,
    *,
    dtype: torch.dtype | str | None = None,
    revision: str | None = None,
) -> Loaded:
    """Find, check and load a checkpoint.

    Args:
        name: an embedded model's name, a folder, or a hub id.
        quantize: ``none``, ``8bit`` or ``4bit``.
        device: of torch; None = the first CUDA device, or else the CPU.
        progress: called with a fraction 0..1 (None = unknown) and a few words.
        trust: what of the checkpoint may run here.
        dtype: of the weights, of torch or its name in ``DTYPES``; ``auto`` = as they are stored; None = the same, but
            float32 for bf16 where the processor is much faster at that.
        revision: the hub's commit, branch or tag; None = the main branch.
    Raises:
        BadSetting: an unknown dtype, one together with ``quantize``, or a revision of what is no model of the hub.
        ModelNotFound: no such name, no model in the folder, or the hub cannot deliver it.
        UnsupportedModel: no adapter for its class, or its files cannot be loaded.
        QuantizationUnavailable: see ``quantization.config_for``; or the checkpoint was saved in another precision.
        VlmDemoError: there is no such device, too little memory, or a torchvision that is broken.
    """
    report = progress or (lambda _fraction, _text: None)
    report(None, "Looking for the model")
    with quiet():
        where = check(quantize, device)  # complain before anything is downloaded
        weights_dtype = _dtype(dtype, quantize)
        folder, shown = resolve(name, report, trust, revision)
        adapter = _adapter(folder, shown, trust)
        if quantize != "none" and not adapter.writes:
            raise QuantizationUnavailable(
                f"{shown} has no language model, the one part that is quantized here: load it without quantization."
            )
        report(None, f"Loading {shown}")
        model = weights.load(folder, shown, adapter, quantize, where, trust, weights_dtype)
        tokenizer, image_processor = checkpoint_files.processors_of(folder, shown, trust)
        family = adapter(model, folder, tokenizer)
    report(1.0, f"{shown} is ready")
    precision = quantization.precision_of(model)
    template = ""
    if adapter.writes:
        template = checkpoint_files.chat_template_of(folder, shown, tokenizer) or adapter.fallback_template
    settings_folder = _composed(name) or folder
    return Loaded(shown, folder, settings_folder, model, family, tokenizer, image_processor, template, precision, where)


def device_of(device_map: str | None, device: str | None) -> str | None:
    """The ``device`` of `load` that transformers' ``device_map`` asks for; a model is loaded onto one device whole.

    Raises:
        BadSetting: an unknown map, or one together with ``device``.
    """
    if device_map is None:
        return device
    if device is not None:
        raise BadSetting("device and device_map say the same thing: give one of them.")
    if device_map not in DEVICE_MAPS:
        raise BadSetting(f"There is no device_map {device_map!r} here: choose one of {', '.join(DEVICE_MAPS)}.")
    return None if device_map == "auto" else device_map


def _dtype(requested: torch.dtype | str | None, quantize: str) -> torch.dtype | str | None:
    """What ``weights.load`` is given for the ``dtype`` of `load`."""
    if requested is None:
        return None
    if quantize != "none":
        raise BadSetting(f"A model that is loaded in {quantize} has that precision: leave out dtype, or quantize.")
    if requested == "auto" or requested in DTYPES.values():
        return requested
    found = DTYPES.get(requested.removeprefix("torch.")) if isinstance(requested, str) else None
    if found is None:
        raise BadSetting(f"There is no dtype {requested} for a model here: choose one of {', '.join(DTYPES)}, auto.")
    return found


def check(quantize: str, device: str | None) -> torch.device:
    """See that a model could be loaded so, and return the device on which it would compute.

    Raises:
        QuantizationUnavailable: see ``quantization.config_for``.
        VlmDemoError: there is no such device, or a torchvision that is broken.
    """
    check_torchvision()
    quantization.config_for(quantize, ())
    return _device(device)


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
    """The models that are part of this project: ready checkpoints, and recipes that are put together on first use."""
    return sorted(folder.name for folder in EMBEDDED.iterdir() if _is_embedded(folder)) if EMBEDDED.is_dir() else []


def _is_embedded(folder: Path) -> bool:
    # os.path returns False where pathlib raises: for a name that is too long, or a folder that is locked.
    return embedded.is_composed(folder) or os.path.isfile(folder / "config.json")


def shipped(name: str) -> Path | None:
    """The folder of this project that an embedded model's name stands for; None = it is no such name."""
    return (
        EMBEDDED / name if "/" not in name and name not in ("", ".", "..") and _is_embedded(EMBEDDED / name) else None
    )


def family_of(name: str) -> str | None:
    """The module in ``adapters`` that runs a model which is put together on first use; None = see its config.json.

    Raises:
        UnsupportedModel: its recipe is damaged.
    """
    folder = _composed(name)
    return read_recipe(folder / RECIPE).family if folder else None


def announcement(name: str) -> str:
    """What has to be made before a model can be loaded, as one sentence; empty where that is nothing.

    Raises:
        UnsupportedModel: its recipe is damaged.
    """
    folder = _composed(name)
    return embedded.announcement(folder) if folder else ""


def disk_use(name: str) -> int:
    """Bytes on disk, about, that a model takes once it is put together; 0 where nothing has to be.

    Raises:
        UnsupportedModel: its shipped files are damaged.
    """
    folder = _composed(name)
    return embedded.disk_use(folder) if folder else 0


def _composed(name: str) -> Path | None:
    """The folder with the recipe that a name or a path stands for; None = it is no model that is put together."""
    folder = shipped(name) or Path(os.path.expanduser(name))
    return folder.resolve() if name and embedded.is_composed(folder) else None


def checkpoint(name: str, progress: Progress | None = None) -> Path:
    """The checkpoint's folder of an embedded model, put together now if it has to be.

    Raises:
        ModelNotFound: there is no such embedded model, or a part of it can't be fetched.
        UnsupportedModel, VlmDemoError: see ``embedded.assembled``.
    """
    folder = shipped(name)
    if folder is None:
        known = ", ".join(embedded_names()) or "none yet"
        raise ModelNotFound(f"There is no embedded model {name}: choose one of {known}.")
    if not embedded.is_composed(folder):
        return folder
    with quiet():
        return embedded.assembled(folder, progress or (lambda _fraction, _text: None))


def catalog() -> list[Entry]:
    """The models that can be had: those on the hub, and the embedded ones whose checkpoint is here."""
    embedded_here = embedded_names()
    return [entry for entry in catalogue.listed() if entry.on_hub or entry.id in embedded_here]


def resolve(name: str, report: Progress, trust: Trust = NONE, revision: str | None = None) -> tuple[Path, str]:
    """A model's name → its folder (downloaded if it is a hub id) and how to call it.

    Raises:
        BadSetting: a revision of what is no model of the hub, or one that can't be.
        ModelNotFound: one sentence for each way in which there is none.
    """
    if revision is not None:
        if shipped(name) or os.path.exists(os.path.expanduser(name)) or not HUB_ID.fullmatch(name):
            raise BadSetting(f"{name} is no model of the hub, and has no revisions: leave revision out.")
        if not REVISION.fullmatch(revision):
            raise BadSetting(f"There can be no revision {revision!r}: name a commit, a branch or a tag.")
    if shipped(name):
        return checkpoint(name, report), name
    composed = _composed(name)
    if composed:
        return embedded.assembled(composed, report), composed.name
    # os.path returns False where pathlib raises, for an unknown ~user too.
    folder = Path(os.path.expanduser(name))
    if name and os.path.isdir(folder):
        if not os.path.isfile(folder / "config.json"):
            refusals.refuse_adapter(folder, folder.resolve().name)
            raise ModelNotFound(f"The folder {name} holds no model (no config.json): name a checkpoint's folder.")
        return folder, folder.resolve().name
    if os.path.isfile(folder):
        raise ModelNotFound(f"{name} is a file: name the checkpoint's folder, which holds config.json and the weights.")
    if HUB_ID.fullmatch(name) and not name.startswith((".", "~")):
        alternatives = ", ".join(_substitutes(name)) or "a checkpoint's folder"
        return download.fetch(
            name, trust, lambda found: _adapter(found, name, trust), report, alternatives, revision
        ), name
    known = ", ".join(embedded_names()) or "none yet"
    raise ModelNotFound(
        f"There is no model {name}: choose an embedded one ({known}), a checkpoint's folder, or a hub id as OWNER/NAME."
    )


def _substitutes(name: str) -> list[str]:
    """The embedded models that can stand in for one of the hub: in place of one that writes answers those that do."""
    families = {entry.id: entry.family for entry in catalogue.listed()}
    wanted = families.get(name)
    if wanted is None:
        return embedded_names()
    of = {model: family_of(model) or families.get(model) for model in embedded_names()}
    writes = of_family(wanted).writes
    return [model for model, family in of.items() if family is None or of_family(family).writes == writes]


def _adapter(folder: Path, shown: str, trust: Trust) -> type[Any]:
    """The adapter for a folder's config; a model of the checkpoint's own code answers in one piece.

    Raises:
        UnsupportedModel: nothing here runs it.
    """
    config = checkpoint_files.config_of(folder, shown, trust)
    if trust.remote_code and AUTO_CLASS in (getattr(config, "auto_map", None) or {}):
        return Trusted
    return adapter_of(config)


def _device(requested: str | None) -> torch.device:
    try:
        device = torch.device(requested or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except Exception as error:  # unknown name, or a device that is not there
        raise VlmDemoError(f"There is no device {requested} here: leave it out, or say cpu.") from error
    return device


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries' logs and progress bars while something loads."""
    from transformers.utils import logging as transformers_logging

    loggers = [logging.getLogger(name) for name in NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    bars = transformers_logging.is_progress_bar_enabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()
