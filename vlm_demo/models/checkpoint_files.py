"""Checkpoint files: config, tokenizer, image processor and chat template of a checkpoint's folder.

Everything takes ``shown``, the model's name in the error's sentence.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vlm_demo.errors import UnsupportedModel
from vlm_demo.models import refusals
from vlm_demo.trust import Trust


def config_of(folder: Path, shown: str, trust: Trust) -> Any:
    """Its transformers config.

    Raises:
        UnsupportedModel: it is damaged, unknown, or would run code that ``trust`` does not allow.
    """
    from transformers import AutoConfig

    refusals.check(folder, shown, trust.remote_code)
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust.remote_code)
    except (ValueError, KeyError, OSError, ImportError) as error:
        raise UnsupportedModel(
            f"The config.json of {shown} is damaged or of a kind unknown to transformers: choose another model."
        ) from error


def processors_of(folder: Path, shown: str, trust: Trust) -> tuple[Any, Any]:
    """Its tokenizer and its image processor.

    Raises:
        UnsupportedModel: one is missing or damaged.
    """
    from transformers import AutoImageProcessor, AutoTokenizer

    trusted = {"trust_remote_code": trust.remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **trusted)
        image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **trusted)
    except Exception as error:  # many kinds of missing or damaged file, one meaning
        raise UnsupportedModel(
            f"The tokenizer or image processor of {shown} is missing or damaged: fetch the checkpoint again."
        ) from error
    return tokenizer, image_processor


def chat_template_of(folder: Path, shown: str, tokenizer: Any) -> str | None:
    """Its chat template; None = it has none. A processor's goes before the tokenizer's, which may know no pictures.

    Raises:
        UnsupportedModel: the file that should hold it is damaged.
    """
    for file in ("chat_template.jinja", "chat_template.json", "processor_config.json"):
        if not (folder / file).is_file():
            continue
        try:
            text = (folder / file).read_text(encoding="utf-8")
            template = text if file.endswith(".jinja") else json.loads(text).get("chat_template")
        except (OSError, ValueError, AttributeError) as error:  # unreadable, no JSON, no JSON object
            raise UnsupportedModel(f"The {file} of {shown} is damaged: fetch the checkpoint again.") from error
        if isinstance(template, str):
            return template
    template = getattr(tokenizer, "chat_template", None)
    return template.get("default") if isinstance(template, dict) else template
