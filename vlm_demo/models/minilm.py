"""MiniLM: a sentence encoder in an archive → configuration, weights and tokenizer of transformers' ``BertModel``.

all-MiniLM-L6-v2 (https://www.sbert.net; Wang et al. 2020, https://arxiv.org/abs/2002.10957) was trained so that the
*mean* of a text's tokens stands for its meaning, but ``BertModel`` pools the first token. So a layer is put behind its
six whose first token becomes that mean: its weights are written down here, not trained. Read as data, never executed.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlm_demo.errors import UnsupportedModel

if TYPE_CHECKING:
    from transformers import BertConfig, PreTrainedTokenizerFast

LONGEST = 128  # tokens of a text that it was trained on
# How many times larger than the token itself the mean is in the sum that the added layer normalises; in bf16 the token
# is then less than a rounding.
MEAN_OVER_TOKEN = 1024.0
POOLER = "pooler.dense."


@dataclass(frozen=True)
class TextTower:
    """What the archive holds.

    Attributes:
        config: of ``BertModel``, with one layer more than was trained.
        weights: float32, named as in its state dict; the pooler's are left out, for they were never trained.
        tokenizer: lower-cases, and puts ``[CLS]`` and ``[SEP]`` around a text.
    """

    config: BertConfig
    weights: Mapping[str, Tensor]
    tokenizer: PreTrainedTokenizerFast

    @property
    def trained_layers(self) -> int:
        """How many of the layers were trained."""
        return self.config.num_hidden_layers - 1


def read(path: Path) -> TextTower:
    """Read the archive (``config.json``, ``model.safetensors``, ``tokenizer.json``); takes about a second.

    Raises:
        UnsupportedModel: it is damaged, or holds another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load
    from transformers import BertConfig

    try:
        with zipfile.ZipFile(path) as archive:
            bert_config = json.loads(archive.read("config.json"))
            tensors = load(archive.read("model.safetensors"))
            tokenizer = _tokenizer(archive.read("tokenizer.json").decode("utf-8"))
        config = BertConfig(
            vocab_size=bert_config["vocab_size"],
            hidden_size=bert_config["hidden_size"],
            num_hidden_layers=bert_config["num_hidden_layers"] + 1,
            num_attention_heads=bert_config["num_attention_heads"],
            intermediate_size=bert_config["intermediate_size"],
            max_position_embeddings=LONGEST,
            type_vocab_size=bert_config["type_vocab_size"],
            layer_norm_eps=bert_config["layer_norm_eps"],
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=bert_config["pad_token_id"],
        )
        weights = {
            name: tensor.float()
            for name, tensor in tensors.items()
            if not name.startswith(POOLER) and name != "embeddings.position_ids"
        }
        positions = "embeddings.position_embeddings.weight"
        weights[positions] = weights[positions][:LONGEST].clone()
        weights |= averaging(config, bert_config["num_hidden_layers"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, SafetensorError) as error:
        raise UnsupportedModel(f"{path.name} is damaged, or holds another network: fetch the file again.") from error
    return TextTower(config, weights, tokenizer)


def averaging(config: BertConfig, number: int) -> dict[str, Tensor]:
    """A BERT layer whose every token is the mean of the tokens before it, normalised to mean 0 and spread 1.

    Without queries and keys attention is the same for all tokens that are not padding, so what it gathers is their
    mean; MEAN_OVER_TOKEN makes that outweigh the token that the layer adds, and the feed-forward half adds nothing.

    Args:
        number: of the layer, counted from 0.
    """
    width, inner = config.hidden_size, config.intermediate_size
    identity = torch.eye(width)
    weights = {
        "attention.self.query.weight": torch.zeros(width, width),
        "attention.self.key.weight": torch.zeros(width, width),
        "attention.self.value.weight": identity,
        "attention.output.dense.weight": identity * MEAN_OVER_TOKEN,
        "intermediate.dense.weight": torch.zeros(inner, width),
        "intermediate.dense.bias": torch.zeros(inner),
        "output.dense.weight": torch.zeros(width, inner),
    }
    for name in ("self.query", "self.key", "self.value", "output.dense"):
        weights[f"attention.{name}.bias"] = torch.zeros(width)
    weights["output.dense.bias"] = torch.zeros(width)
    for name in ("attention.output.LayerNorm", "output.LayerNorm"):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = torch.ones(width), torch.zeros(width)
    return {f"encoder.layer.{number}.{name}": tensor for name, tensor in weights.items()}


def qformer_weights(text: TextTower, longest: int) -> dict[str, Tensor]:
    """What a Q-Former begins with, as BLIP-2's begins with BERT's (Li et al. 2023, https://arxiv.org/abs/2301.12597,
    section 3.1): of each layer the self-attention, and the feed-forward half twice, for texts and for queries.
    Cross-attention, queries and heads are not among them.

    Args:
        longest: tokens of a text.
    Returns:
        float32, named as in ``Blip2ForImageTextRetrieval``. Its texts are of one type, so that type's vector is part of
        the word embeddings.
    """
    text_weights = text.weights
    embeddings = "embeddings.{}_embeddings.weight".format
    initial = {
        embeddings("word"): text_weights[embeddings("word")] + text_weights[embeddings("token_type")][0],
        embeddings("position"): text_weights[embeddings("position")][:longest].clone(),
    }
    initial |= {
        f"qformer.layernorm.{kind}": text_weights[f"embeddings.LayerNorm.{kind}"] for kind in ("weight", "bias")
    }
    for name, tensor in text_weights.items():
        if not name.startswith("encoder.layer.") or int(name.split(".")[2]) >= text.trained_layers:
            continue  # the last layer is the averaging one
        ours = f"qformer.{name}".replace(".attention.self.", ".attention.attention.")
        initial[ours] = tensor
        for half in ("intermediate", "output"):
            if ".attention." not in name and f".{half}." in name:
                initial[ours.replace(f".{half}.", f".{half}_query.")] = tensor.clone()
    return initial


def _tokenizer(written: str) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer.from_str(written)
    core.no_padding()
    core.no_truncation()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="[UNK]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        mask_token="[MASK]",
        model_max_length=LONGEST,
    )
