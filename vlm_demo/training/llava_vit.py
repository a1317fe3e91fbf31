"""LLaVA with a ViT: the recipe of ``finetune`` behind a DINOv2 ViT-S/14 instead of a convolutional encoder.

What comes out runs on transformers' own classes alone. The ViT sees 168 × 168 pixels: 12 × 12 = 144 image tokens. At
224, the size that it was tuned at, there would be 256, three times as many as the default model reads; at 112 there are
64, but then small things are gone before anything reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers.models.llama.modeling_llama import LlamaForCausalLM

from vlm_demo.models import parts, smollm2
from vlm_demo.models.pretrained import vision_tower
from vlm_demo.training import finetune
from vlm_demo.training.branches import BranchPacker
from vlm_demo.training.mixture import Mixture

RECIPE: dict[str, Any] = {
    "family": "llava",
    "language_model": "smollm2-135m-instruct",
    "vision_tower": "dinov2-vit-s-focus",
    "image_size": 168,
}
NAME = "llava-vit"  # of the embedded model


def run(
    roots: Sequence[Path],
    folder: Path,
    minutes: float,
    init: Path | None = None,
    resume: bool = False,
    log: Callable[[str], None] = print,
    recipe: dict[str, Any] = RECIPE,
    **stages: Any,
) -> None:
    """Train, or go on training, in ``folder``.

    Args:
        roots: folders of annotated pictures, see ``mixture.Mixture``.
        minutes: of stage 2.
        init: a ``trained.safetensors`` to begin from, whose projector is aligned.
        resume: go on from the folder's checkpoint.
        stages: ``align_pictures``, ``align_epochs`` and ``projector_minutes`` of ``finetune.run``.
        recipe: which parts; any tower of ``builders.towers``.
    Raises:
        UnsupportedModel, ModelNotFound, VlmDemoError: see ``parts.find``.
    """

    def tell(_fraction: float | None, text: str) -> None:
        log(text)

    side = recipe["image_size"]
    tower = vision_tower(recipe["vision_tower"], side, tell)
    language = smollm2.read(parts.find(recipe["language_model"], tell))
    llm = LlamaForCausalLM(language.config)
    llm.load_state_dict(language.weights, strict=not language.config.tie_word_embeddings)
    llm.tie_weights()
    packer = BranchPacker(language.tokenizer, (side // tower.config.patch_size) ** 2)
    data, held = (Mixture(roots, packer, side, held, fill=tower.fill) for held in (False, True))
    composed = finetune.compose(tower, llm, language.tokenizer, init)
    finetune.run(composed, data, held, folder, minutes, resume=resume, aligned=init is not None, log=log, **stages)


def export(folder: Path, target: Path, recipe: dict[str, Any] = RECIPE) -> None:
    """A run's averaged weights → ``recipe.json`` and ``trained.safetensors`` in ``target``, the folder
    ``assets/models/llava-vit``, which from then on is offered."""
    finetune.export(folder / "checkpoint.pt", target, recipe)
