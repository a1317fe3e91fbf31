"""A tiny MiniLM with random weights in an archive, as its package has it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

WORDS = "a an the of red blue green star circle square photo two dog cat person riding horse and".split()
WIDTH, INNER = 32, 48
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write(path: Path, *, width: int = WIDTH, seed: int = 0) -> BertModel:
    """Write ``path`` and return the model of two layers that it holds."""
    torch.manual_seed(seed)
    pieces = [
        *SPECIAL,
        *WORDS,
        *"abcdefghijklmnopqrstuvwxyz[]",
        *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"),
    ]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    core = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    core.normalizer, core.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    core.add_special_tokens(list(SPECIAL))
    core.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    core.enable_padding(length=16)  # as it is published; it must not stay so
    core.enable_truncation(8)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=INNER,
        layer_norm_eps=1e-12,
        pad_token_id=0,
    )
    model = BertModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config.to_dict()))
        archive.writestr("tokenizer.json", core.to_str())
        archive.writestr("model.safetensors", save({k: v.contiguous() for k, v in model.state_dict().items()}))
    return model
