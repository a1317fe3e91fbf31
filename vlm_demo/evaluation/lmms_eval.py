"""lmms-eval: its requests → requests to an Engine, and the manifest by which that package finds this one.

    python -m lmms_eval --model vlm_demo --model_args model=llava,ocr=True --tasks TASK

Knows lmms-eval's words and needs none of its code, so that the package may be missing; the model itself is in
``lmms_eval_model``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlm_demo import chat_messages
from vlm_demo.contracts.engine import Request
from vlm_demo.contracts.sampling import Sampling
from vlm_demo.errors import BadSetting, UnsupportedModel

NAME = "vlm_demo"


def manifest() -> Any:
    """What the entry point of the group ``lmms_eval.models`` gives; lmms-eval alone calls it."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(NAME, chat_class_path="vlm_demo.evaluation.lmms_eval_model.Model")


def conversation(messages: Sequence[Mapping[str, Any]], decoding: Mapping[str, Any]) -> Request:
    """The question at the end of a task's messages, with the turns before it.

    Args:
        messages: as lmms-eval makes them of any task; each picture is ``{"type": "image", "url": …}``, a PIL image or
            a path.
        decoding: the task's ``generation_kwargs``; for what counts see ``sampling``, and ``max_new_tokens``.
    Raises:
        UnsupportedModel: a message holds video or audio.
        BadQuestion, BadImage: see ``chat_messages.read``.
        BadSetting: see ``sampling``.
    """
    kinds = {
        part.get("type")
        for message in messages
        if not isinstance(message["content"], str)
        for part in message["content"]
    }
    if others := sorted(map(str, kinds - {"text", "image"})):
        raise UnsupportedModel(
            f"vlm_demo answers about pictures, and this task holds {' and '.join(others)}: leave it out of --tasks."
        )
    parsed = chat_messages.read(messages)
    return Request(
        parsed.images,
        parsed.question,
        max_new_tokens=decoding.get("max_new_tokens"),
        history=parsed.history,
        system=parsed.system,
        sampling=sampling(decoding),
    )


def sampling(decoding: Mapping[str, Any]) -> Sampling:
    """How tokens are chosen, and before which texts an answer ends: ``do_sample``, ``temperature``, ``top_p``,
    ``top_k`` and ``until`` count.

    Raises:
        BadSetting: the task decodes with beams, or a value is out of its range.
    """
    if (decoding.get("num_beams") or 1) != 1:
        raise BadSetting("vlm_demo decodes without beams: add --gen_kwargs num_beams=1.")
    until = decoding.get("until") or ()
    stop = tuple(filter(None, (until,) if isinstance(until, str) else until))
    if decoding.get("do_sample") is False or not decoding.get("temperature"):
        return Sampling(temperature=0, stop=stop)
    return Sampling(decoding["temperature"], decoding.get("top_p"), decoding.get("top_k"), stop=stop)
