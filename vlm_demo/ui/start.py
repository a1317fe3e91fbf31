"""Start: a model's name → the page, ready to launch. The only module of the page that loads engines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import gradio as gr

from vlm_demo import shipped
from vlm_demo.contracts import DEFAULT_OCR, OcrSettings
from vlm_demo.contracts.engine import Engine
from vlm_demo.engines import local
from vlm_demo.engines.connection import Connection
from vlm_demo.engines.local import announcement
from vlm_demo.engines.registry import ModelRegistry, Progress
from vlm_demo.engines.scheduler import BATCH
from vlm_demo.errors import OcrUnavailable
from vlm_demo.images.open import open_image
from vlm_demo.images.remote_pictures import NOTHING, RemotePictures
from vlm_demo.trust import NONE, Trust
from vlm_demo.ui import layout, pictures
from vlm_demo.ui.tabs.chat.transcript import Example
from vlm_demo.ui.theme import launch_options

EXAMPLES = shipped.folder("examples")

__all__ = ["announcement", "examples", "launch_options", "page", "served", "service"]


def service(
    model: str,
    quantize: str,
    device: str | None,
    progress: Progress | None = None,
    trust: Trust = NONE,
    ocr_settings: OcrSettings = DEFAULT_OCR,
    batch: int = BATCH,
) -> ModelRegistry:
    """Load ``model``. Where its checkpoint must be assembled first, that and the loading run in the background, and the
    page shows the progress.

    Args:
        model: an embedded model's name, a folder, or a hub id.
        quantize: ``none``, ``8bit`` or ``4bit``.
        device: of torch; None = the best there is.
        progress: called with the progress of loading.
        trust: what of ``model`` may run here; of models that the page switches to, nothing.
        ocr_settings: how text in pictures is read.
        batch: how many answers are computed together at most.
    Raises:
        VlmDemoError: the model can't be loaded, or text can't be read in the chosen languages; says why.
    """
    if ocr_settings != DEFAULT_OCR and (missing := local.ocr_missing(ocr_settings)):
        raise OcrUnavailable(missing)

    def load(name: str, precision: str, progress: Progress | None = None) -> Engine:
        return local.load(name, precision, device, progress, trust if name == model else NONE, batch=batch)

    if announcement(model):
        registry = ModelRegistry(None, load, model, quantize, local.checked_device(quantize, device))
        local.prepare()  # the page is built meanwhile, and needs the list of models too
        registry.begin(progress)
    else:
        registry = ModelRegistry(load(model, quantize, progress), load, model, quantize)
    registry.ocr_settings, registry.at_once = ocr_settings, max(batch, BATCH)
    return registry


def served(
    server: Connection,
    quantize: str,
    device: str | None,
    progress: Progress | None = None,
    trust: Trust = NONE,
    ocr_settings: OcrSettings = DEFAULT_OCR,
    image_hosts: Sequence[str] = (),
) -> ModelRegistry:
    """Connect to a server whose model answers in place of a local one.

    Args:
        quantize, device, progress, trust: as for `service`, of the checkpoint that explains the server's answers.
        image_hosts: from which hosts on the web pictures may be fetched.
    Raises:
        VlmDemoError: as `service`; or the server lists no model.
    """
    from vlm_demo.engines import remote

    if ocr_settings != DEFAULT_OCR and (missing := local.ocr_missing(ocr_settings)):
        raise OcrUnavailable(missing)
    engine = remote.connect(server, quantize, device, progress, trust, image_hosts)

    def load(name: str, precision: str, progress: Progress | None = None) -> Engine:
        if name != engine.name:
            return local.load(name, precision, device, progress)
        return remote.connect(replace(server, model=engine.model), precision, device, progress, trust, image_hosts)

    registry = ModelRegistry(engine, load, engine.name, quantize)
    registry.ocr_settings = ocr_settings
    return registry


def page(loaded: ModelRegistry, remote: RemotePictures = NOTHING, ocr_settings: OcrSettings = DEFAULT_OCR) -> gr.Blocks:
    """The page of a model that is loaded, or is being loaded.

    Args:
        remote: from which hosts on the web pictures may be fetched.
        ocr_settings: how text in pictures is read.
    """
    missing, languages = local.ocr_missing(ocr_settings), local.ocr_languages(ocr_settings)
    return layout.build(loaded, examples(with_ocr=missing is None), missing, remote, ocr_settings, languages)


def examples(with_ocr: bool = True, folder: Path = EXAMPLES) -> list[Example]:
    """The examples listed in ``examples.json`` next to the pictures; without OCR, none that needs it."""
    listing = folder / "examples.json"
    if not listing.exists():
        return []
    found = []
    for entry in json.loads(listing.read_text()):
        content = (folder / entry["image"]).read_bytes()
        needs_ocr = bool(entry.get("ocr"))
        if needs_ocr and not with_ocr:
            continue
        picture, _ = open_image(content)
        found.append(
            Example(
                entry["image"],
                content,
                pictures.preview(picture),
                entry["question"],
                needs_ocr,
                bool(entry.get("evidence_only")),
            )
        )
    return found
