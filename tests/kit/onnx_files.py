"""A tiny DINOv2 with random weights as an ONNX file, its matrices without their names, as exporters write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model

NAMES = {
    "q_proj": "attention.query",
    "k_proj": "attention.key",
    "v_proj": "attention.value",
    "o_proj": "output.dense",
}


def write(path: Path, *, side: int = 56, layers: int = 2, width: int = 64, seed: int = 0) -> Dinov2Model:
    """Write ``path``, with positions for a picture of ``side`` pixels, and return the model that it holds."""
    torch.manual_seed(seed)
    config = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=1,
        mlp_ratio=2,
        layer_norm_eps=1e-6,
        image_size=side,
        use_mask_token=False,
    )
    model = Dinov2Model(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    tensors, nodes = [], []
    for name, weight in model.state_dict().items():
        if name == "embeddings.position_embeddings":
            tensors += [tensor("anonymous_first", weight[:, :1]), tensor("anonymous_table", weight[:, 1:])]
            nodes.append(node("Concat", ["anonymous_first", "resized"], ["positions"]))
            nodes.append(node("Reshape", ["anonymous_table", "shape"], ["grid"]))
        elif weight.dim() == 2:
            place = named(name.removesuffix(".weight"))
            tensors.append(tensor(f"anonymous_{len(nodes)}", weight.T.contiguous()))
            nodes.append(node("MatMul", [f"{place}_in", f"anonymous_{len(nodes)}"], [f"{place}_product"]))
            # Exporters write the bias first here and last there.
            both = [f"{place}.bias", f"{place}_product"]
            nodes.append(node("Add", both if "query" in place else both[::-1], [f"{place}_out"]))
        else:
            tensors.append(tensor(named(name), weight))
    nodes.append(node("Concat", ["expanded", "patches"], ["tokens"]))
    tensors.append(field(5, text(8, "decoder.steps") + number(2, 7) + number(1, 1) + field(9, b"\0" * 8)))  # int64
    graph = b"".join(field(1, node) for node in nodes) + b"".join(tensors)
    path.write_bytes(number(1, 7) + text(2, "somebody") + field(7, graph))
    return model


def named(name: str) -> str:
    """transformers' name → the file's."""
    for ours, theirs in NAMES.items():
        name = name.replace(f"attention.{ours}", f"attention.{theirs}")
    return f"backbone.{name}"


def tensor(name: str, value: Tensor) -> bytes:
    dims = b"".join(number(1, size) for size in value.shape)
    return field(5, dims + number(2, 1) + text(8, name) + field(9, value.contiguous().numpy().tobytes()))


def node(operation: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    named = b"".join(text(1, name) for name in inputs) + b"".join(text(2, name) for name in outputs)
    return named + text(4, operation)


def varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def number(where: int, value: int) -> bytes:
    return varint(where << 3) + varint(value)


def field(where: int, value: bytes) -> bytes:
    return varint(where << 3 | 2) + varint(len(value)) + value


def text(where: int, value: str) -> bytes:
    return field(where, value.encode())
