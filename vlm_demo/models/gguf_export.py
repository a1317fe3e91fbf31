"""GGUF export: an embedded LLaVA → the two files that llama.cpp serves it from, its language model and its mmproj.

The weights are those of the checkpoint, LoRA merged, matrices in float16. Knows the names and the order of rows that
llama.cpp expects of a Llama; the vision encoder is in ``gguf_export_vision``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vlm_demo.errors import UnsupportedModel, VlmDemoError
from vlm_demo.models import builders, embedded, gguf_export_vision, smollm2
from vlm_demo.models.builders import RECIPE

Tensors = Callable[[str], np.ndarray]  # a tensor's name in the checkpoint → float32

# The pretrained vision encoders that llama.cpp's loader knows, as a recipe names them.
TOWERS = ("dinov2-vit-s-focus",)
NORMAL = 1  # llama.cpp's type of a token that is text; of one that is none: ``smollm2.CONTROL``
PRE_TOKENIZER = "smollm"  # its name for single digits, and then GPT-2's pieces
MARKER = "<__media__>"  # what its servers put in a picture's place before they apply the template
LANGUAGE = "language_model."
OUTSIDE = {ours: theirs for theirs, ours in smollm2.OUTSIDE.items()}
INSIDE = {ours: theirs for theirs, ours in smollm2.INSIDE.items()}

# As smollm2.CHAT_TEMPLATE, where a picture is a part that is no text, or a text that is the marker.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- if message['content'] is string -%}"
    "{{- message['content'] -}}"
    "{%- else -%}"
    "{%- for part in message['content'] if part['type'] != 'text' or part['text'] == '" + MARKER + "' -%}"
    "{{- part['text'] | default('" + MARKER + "') -}}"
    "{%- if loop.last -%}{{- '\n' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- for part in message['content'] if part['type'] == 'text' and part['text'] != '" + MARKER + "' -%}"
    "{{- part['text'] -}}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|im_end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


def require(name: str, shipped: Path) -> None:
    """See that llama.cpp can read an embedded model, before it is put together.

    Args:
        name: the model's.
        shipped: its folder of shipped files.
    Raises:
        UnsupportedModel: its family or its vision encoder is none that llama.cpp's loader knows.
    """
    if embedded.is_composed(shipped):
        recipe = builders.read_recipe(shipped / RECIPE)
        if recipe.family == "llava" and recipe.vision_tower in TOWERS:
            return
    raise UnsupportedModel(
        f"{name} can't be written as GGUF, for llama.cpp reads no vision encoder like its own: export llava-vit, or "
        "leave out --gguf."
    )


def export(name: str, folder: Path, target: Path) -> tuple[Path, Path]:
    """Write ``NAME.gguf`` and ``mmproj-NAME.gguf`` into ``target``, a folder that is not there yet or is empty.

    Args:
        name: of a model that ``require`` lets pass.
        folder: its checkpoint.
    Returns:
        The language model's file and the vision encoder's.
    Raises:
        VlmDemoError: there is something in the folder, or it can't be written.
    """
    from safetensors import safe_open

    embedded.require_empty(target)
    config = _read(folder / "config.json")
    paths = target / f"{name}.gguf", target / f"mmproj-{name}.gguf"
    try:
        target.mkdir(parents=True, exist_ok=True)
        with safe_open(folder / "model.safetensors", "pt") as file:

            def tensor(stored: str) -> np.ndarray:
                return file.get_tensor(stored).float().numpy()

            names = [stored.removeprefix(LANGUAGE) for stored in file.offset_keys() if stored.startswith(LANGUAGE)]
            tokenizer = _read(folder / "tokenizer.json")
            _finish(_language(paths[0], name, config["text_config"], tokenizer, names, tensor))
            pixels = _read(folder / "processor_config.json")["image_processor"]
            _finish(gguf_export_vision.writer(paths[1], name, config, pixels, tensor))
    except OSError as error:
        raise VlmDemoError(
            f"The files could not be written to {target}: choose a place with room that is yours."
        ) from error
    return paths


def _language(
    path: Path, name: str, text: dict[str, Any], tokenizer: dict[str, Any], names: list[str], tensor: Tensors
) -> Any:
    """The language model's file, not yet written. ``text``: its configuration; ``names``: its tensors'."""
    from gguf import GGUFWriter, LlamaFileType

    heads, groups = text["num_attention_heads"], text["num_key_value_heads"]
    writer = GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_rope_dimension_count(text["head_dim"])
    writer.add_rope_freq_base(text["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_vocab_size(text["vocab_size"])
    _add_tokenizer(writer, text, tokenizer)
    for stored in sorted(names):
        array = tensor(LANGUAGE + stored)
        if stored.endswith(("q_proj.weight", "k_proj.weight")):
            array = permuted(array, heads if "q_proj" in stored else groups)
        # Vectors cost nothing: they stay float32.
        writer.add_tensor(named(stored), array.astype(np.float16 if array.ndim == 2 else np.float32))
    return writer


def _add_tokenizer(writer: Any, text: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    control = {added["content"] for added in tokenizer["added_tokens"] if added["special"]}
    vocabulary = tokenizer["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types([smollm2.CONTROL if token in control else NORMAL for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(text["bos_token_id"])
    writer.add_eos_token_id(text["eos_token_id"])
    writer.add_pad_token_id(text["pad_token_id"])
    writer.add_add_bos_token(False)  # the template writes all that there is
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def named(stored: str) -> str:
    """llama.cpp's name of one of the language model's tensors, called as in transformers' ``LlamaForCausalLM``.

    Raises:
        KeyError: Llama has no such tensor.
    """
    outside = stored.removesuffix(".weight")
    if outside in OUTSIDE:
        return f"{OUTSIDE[outside]}.weight"
    _, _, layer, rest = outside.split(".", 3)
    return f"blk.{layer}.{INSIDE[rest]}.weight"


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """The rows of a query or key projection [heads × d, inputs] as llama.cpp orders them: see
    ``smollm2.unpermuted``."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def _finish(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
