"""SmolLM2: one GGUF file → configuration, weights and tokenizer, as transformers' Llama classes take them.

The file is read as data: nothing that came with it runs. Knows nothing of pictures beyond the one token that stands for
them in the tokenizer and in the chat template.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vlm_demo.errors import UnsupportedModel

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerFast

IMAGE_TOKEN = "<image>"
# Of the tokens that only ever stood before repositories of source code, SmolLM2 was not tuned with this one: it becomes
# the image token, and the vocabulary keeps its size.
SPARE_TOKEN = "<reponame>"
BOS, EOS, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
LAYER = "model.layers."  # what the names of a layer's weights begin with
CONTROL = 3  # llama.cpp's type of a token that is no text

# ChatML. An <image> for each picture, a line break, and the text; content may be a string or a list of parts.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- if message['content'] is string -%}"
    "{{- message['content'] -}}"
    "{%- else -%}"
    "{%- set images = message['content'] | selectattr('type', 'equalto', 'image') | list -%}"
    "{%- for image in images -%}{{- '<image>' -}}{%- endfor -%}"
    "{%- if images -%}{{- '\n' -}}{%- endif -%}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|im_end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)

# llama.cpp's names of tensors → transformers'.
OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
INSIDE = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True)
class LanguageModel:
    """What a GGUF file holds.

    Attributes:
        config: of ``LlamaForCausalLM``.
        weights: float32, named as in its state dict; without ``lm_head.weight`` where the embeddings are tied.
        tokenizer: fast; adds no token by itself, and writes ``<image>`` as the spare token's id.
    """

    config: LlamaConfig
    weights: Mapping[str, Tensor]
    tokenizer: PreTrainedTokenizerFast


def read(path: Path) -> LanguageModel:
    """Read a Llama from a GGUF file; SmolLM2-135M in 4 bits takes about 4 seconds.

    Raises:
        UnsupportedModel: the file is damaged, or holds another architecture.
    """
    from gguf import GGUFReader

    try:
        file = GGUFReader(path)
        config = config_of(file)
        return LanguageModel(config, weights_of(file, config), tokenizer_of(file))
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UnsupportedModel(f"{path.name} is damaged, or holds no Llama: fetch the file again.") from error


def shortened(whole: LanguageModel, layers: int) -> LanguageModel:
    """The same with so many of its layers alone: the first half of them and the last.

    The middle is what a language model does best without: right after the cut, captions cost SmolLM2-135M 8.2 nats a
    token with its first 8 and last 7 layers, 14.3 with every second one and 20.8 with the first 15 (3.2 with all 30).
    It has to be trained further before it writes.

    Args:
        layers: 0 = all.
    Raises:
        UnsupportedModel: it has fewer.
    """
    had = whole.config.num_hidden_layers
    if layers == had or not layers:
        return whole
    if not 0 < layers < had:
        raise UnsupportedModel(f"The language model has {had} layers: keep 1 to {had} of them.")
    first = math.ceil(layers / 2)
    kept = [*range(first), *range(had - (layers - first), had)]
    weights = {name: tensor for name, tensor in whole.weights.items() if not name.startswith(LAYER)}
    for place, number in enumerate(kept):
        old = f"{LAYER}{number}."
        weights |= {
            f"{LAYER}{place}.{name.removeprefix(old)}": tensor
            for name, tensor in whole.weights.items()
            if name.startswith(old)
        }
    config = copy.deepcopy(whole.config)
    config.num_hidden_layers = layers
    return LanguageModel(config, weights, whole.tokenizer)


def config_of(file: Any) -> LlamaConfig:
    """The configuration that a ``GGUFReader`` 's metadata describes.

    Raises:
        KeyError: an entry is missing.
        ValueError: the architecture is not Llama's.
    """
    from transformers import LlamaConfig

    if _metadata(file, "general.architecture") != "llama":
        raise ValueError("not a Llama")
    heads, width = _metadata(file, "llama.attention.head_count"), _metadata(file, "llama.embedding_length")
    tokens = _metadata(file, "tokenizer.ggml.tokens")
    tied = all(tensor.name != "output.weight" for tensor in file.tensors)
    return LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=width,
        intermediate_size=_metadata(file, "llama.feed_forward_length"),
        num_hidden_layers=_metadata(file, "llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=_metadata(file, "llama.attention.head_count_kv"),
        head_dim=width // heads,
        max_position_embeddings=_metadata(file, "llama.context_length"),
        # The file holds these as float32: 1e-5 comes out as 9.999999747378752e-06.
        rms_norm_eps=float(str(np.float32(_metadata(file, "llama.attention.layer_norm_rms_epsilon")))),
        rope_parameters={"rope_type": "default", "rope_theta": float(_metadata(file, "llama.rope.freq_base"))},
        tie_word_embeddings=tied,
        bos_token_id=tokens.index(BOS),
        eos_token_id=tokens.index(EOS),
        pad_token_id=tokens.index(PAD),
    )


def weights_of(file: Any, config: LlamaConfig) -> dict[str, Tensor]:
    """The tensors of a ``GGUFReader``, dequantized to float32 and named as in ``LlamaForCausalLM`` 's state dict.

    Raises:
        KeyError: a tensor that Llama doesn't have.
    """
    from gguf import dequantize

    weights = {}
    for tensor in file.tensors:
        array = dequantize(tensor.data, tensor.tensor_type)
        weight = torch.from_numpy(np.array(array, dtype=np.float32))
        part, _, rest = tensor.name.removesuffix(".weight").partition(".")
        if part != "blk":
            weights[f"{OUTSIDE[part]}.weight"] = weight
            continue
        layer, _, kind = rest.partition(".")
        if kind in ("attn_q", "attn_k"):
            heads = config.num_attention_heads if kind == "attn_q" else config.num_key_value_heads
            weight = unpermuted(weight, heads)
        weights[f"model.layers.{layer}.{INSIDE[kind]}.weight"] = weight
    return weights


def unpermuted(weight: Tensor, heads: int) -> Tensor:
    """The rows of a query or key projection [heads × d, inputs] as transformers orders them.

    Rotary embeddings turn pairs of rows: llama.cpp keeps the two of a pair side by side, transformers half a head
    apart.
    """
    pairs = weight.reshape(heads, weight.shape[0] // heads // 2, 2, weight.shape[1])
    return pairs.swapaxes(1, 2).reshape(weight.shape).contiguous()


def tokenizer_of(file: Any) -> PreTrainedTokenizerFast:
    """The byte-level BPE tokenizer of a ``GGUFReader`` 's tokens and merges, digits one by one.

    Raises:
        KeyError: an entry is missing.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = [IMAGE_TOKEN if token == SPARE_TOKEN else token for token in _metadata(file, "tokenizer.ggml.tokens")]
    kinds = _metadata(file, "tokenizer.ggml.token_type")
    merges = [(pair[0], pair[1]) for pair in (merge.split(" ") for merge in _metadata(file, "tokenizer.ggml.merges"))]
    core = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        extra_special_tokens={"image_token": IMAGE_TOKEN},
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=_metadata(file, "llama.context_length"),
        padding_side="left",
    )


def _metadata(file: Any, name: str) -> Any:
    return file.fields[name].contents()
