"""GGUF export, vision: a LLaVA's DINOv2 and projector → the mmproj file of llama.cpp's loader (``clip.cpp``).

That loader's LLaVA has no layer scale, so it is multiplied into the matrices before it. Three things of it are not the
file's to say: GELU by tanh, bicubic resizing, and the grey of the padding. They differ little from the checkpoint's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TOWER, PROJECTOR = "vision_tower.", "multi_modal_projector."
# The checkpoint's names in a layer → llama.cpp's; in `SCALED`, the output is scaled by the vector named second.
LINEAR = {
    "attention.attention.query": "attn_q",
    "attention.attention.key": "attn_k",
    "attention.attention.value": "attn_v",
    "mlp.fc1": "ffn_up",
}
SCALED = {
    "attention.output.dense": ("attn_out", "layer_scale1.lambda1"),
    "mlp.fc2": ("ffn_down", "layer_scale2.lambda1"),
}
NORMS = {"norm1": "ln1", "norm2": "ln2"}
# Where the two layers of a projector stand in llama.cpp's list, whose second entry is the GELU between them.
PROJECTED = {"linear_1": 0, "linear_2": 2}


def writer(
    path: Path, name: str, config: dict[str, Any], pixels: dict[str, Any], tensor: Callable[[str], np.ndarray]
) -> Any:
    """A ``GGUFWriter`` of the file that holds everything and has written nothing.

    Args:
        path: of the file.
        name: of the model, for people.
        config: the checkpoint's ``config.json``: a LLaVA that reads all patches of a DINOv2's last layer.
        pixels: its image processor's.
        tensor: a tensor's name in the checkpoint → float32.
    """
    from gguf import GGUFWriter, LlamaFileType

    vision = config["vision_config"]
    layers = vision["num_hidden_layers"]
    made = GGUFWriter(path, "clip")
    made.add_name(name)
    made.add_file_type(LlamaFileType.MOSTLY_F16)
    made.add_clip_has_vision_encoder(True)
    made.add_clip_projector_type("mlp")
    made.add_vision_use_gelu(True)
    made.add_vision_image_size(vision["image_size"])
    made.add_vision_patch_size(vision["patch_size"])
    made.add_vision_embedding_length(vision["hidden_size"])
    made.add_vision_feed_forward_length(vision["hidden_size"] * vision["mlp_ratio"])
    made.add_vision_block_count(layers)
    made.add_vision_head_count(vision["num_attention_heads"])
    made.add_vision_attention_layernorm_eps(vision["layer_norm_eps"])
    made.add_vision_projection_dim(config["text_config"]["hidden_size"])
    made.add_vision_image_mean(pixels["image_mean"])
    made.add_vision_image_std(pixels["image_std"])
    # Without it the loader stops a layer early, as LLaVA-1.5 does.
    made.add_array("clip.vision.feature_layer", [layers])
    for called, array in _tensors(layers, tensor):
        # The patches' kernel stays float32: there is one, and it meets the pixels.
        made.add_tensor(called, array.astype(np.float16 if array.ndim == 2 and "embd" not in called else np.float32))
    return made


def _tensors(layers: int, tensor: Callable[[str], np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Everything that the file holds: llama.cpp's name, and float32."""

    def tower(name: str) -> np.ndarray:
        return tensor(f"{TOWER}{name}")

    found = [
        ("v.class_embd", tower("embeddings.cls_token").reshape(-1)),
        ("v.position_embd.weight", class_token_last(tower("embeddings.position_embeddings")[0])),
        ("v.patch_embd.weight", tower("embeddings.patch_embeddings.projection.weight")),
        ("v.patch_embd.bias", tower("embeddings.patch_embeddings.projection.bias")),
    ]
    for layer in range(layers):
        theirs, ours = f"v.blk.{layer}.", f"encoder.layer.{layer}."
        for kind in ("weight", "bias"):
            for name, called in (LINEAR | NORMS).items():
                found.append((f"{theirs}{called}.{kind}", tower(f"{ours}{name}.{kind}")))
            for name, (called, scale) in SCALED.items():
                array, scales = tower(f"{ours}{name}.{kind}"), tower(ours + scale)
                found.append((f"{theirs}{called}.{kind}", array * (scales[:, None] if array.ndim == 2 else scales)))
    for name, place in PROJECTED.items():
        for kind in ("weight", "bias"):
            found.append((f"mm.{place}.{kind}", tensor(f"{PROJECTOR}{name}.{kind}")))
    return found


def class_token_last(positions: np.ndarray) -> np.ndarray:
    """The table of positions [1 + patches, width], its first row put last.

    llama.cpp joins the class token behind the patches and numbers what it has got, so that with the table as it was
    every patch would get its neighbour's place (https://github.com/ggml-org/llama.cpp/issues/25814). It then takes all
    but the first: the picture's first patch is lost, and the class token's output stands last. So it is up to b11739; a
    loader that puts the class token first needs the table as it was.
    """
    return np.roll(positions, -1, axis=0)
