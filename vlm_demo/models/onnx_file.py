"""ONNX: the tensors and the wiring of a graph, read as data. Nothing of the file is executed, and no package is needed.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), the encoding that of
protocol buffers (https://protobuf.dev/programming-guides/encoding). Of tensors it reads float32 stored as raw bytes.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_OUTPUT, NODE_OPERATION = 1, 2, 4
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW = 1, 2, 8, 9
FLOAT = 1
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # how a field is encoded


@dataclass(frozen=True)
class Node:
    """One operation: its name in ONNX, and the names of what it takes and gives, in order."""

    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """What a file holds.

    Attributes:
        nodes: in the order in which they run.
        tensors: name → float32 array of its own shape; tensors of other types are left out.
    """

    nodes: tuple[Node, ...]
    tensors: dict[str, np.ndarray]

    def matrix_before(self, bias: str) -> np.ndarray:
        """The matrix [inputs, outputs] of the ``MatMul`` whose output the bias of this name is added to.

        Exporters leave a linear layer's matrix without its name, but its bias keeps it.

        Raises:
            KeyError: there is no such bias, or nothing was multiplied before it.
        """
        made = {output: node for node in self.nodes for output in node.outputs}
        for node in self.nodes:
            if node.operation == "Add" and bias in node.inputs:
                other = node.inputs[1 - node.inputs.index(bias)]
                if other in made and made[other].operation == "MatMul":
                    return self.tensors[made[other].inputs[1]]
        raise KeyError(bias)

    def taken_by(self, operation: str, dimensions: int) -> list[np.ndarray]:
        """The tensors of so many dimensions that nodes of this operation take."""
        names = dict.fromkeys(name for node in self.nodes if node.operation == operation for name in node.inputs)
        return [self.tensors[name] for name in names if name in self.tensors and self.tensors[name].ndim == dimensions]


def read(path: Path) -> Graph:
    """Read a file's graph; its tensors are views into the file, which is mapped and not copied.

    Raises:
        ValueError: it is cut off, or no ONNX.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    nodes: list[Node] = []
    tensors: dict[str, np.ndarray] = {}
    for graph in (value for number, value in _fields(data) if number == MODEL_GRAPH):
        for number, value in _fields(_bytes(graph)):
            if number == GRAPH_NODE:
                nodes.append(_node(_bytes(value)))
            elif number == GRAPH_INITIALIZER:
                name, array = _tensor(_bytes(value))
                if array is not None:
                    tensors[name] = array
    if not nodes:
        raise ValueError("no graph")
    return Graph(tuple(nodes), tensors)


def _node(data: memoryview) -> Node:
    named: dict[int, list[str]] = {NODE_INPUT: [], NODE_OUTPUT: [], NODE_OPERATION: []}
    for number, value in _fields(data):
        if number in named:
            named[number].append(str(_bytes(value), "utf-8"))
    return Node("".join(named[NODE_OPERATION]), tuple(named[NODE_INPUT]), tuple(named[NODE_OUTPUT]))


def _tensor(data: memoryview) -> tuple[str, np.ndarray | None]:
    dims: list[int] = []
    kind, name, raw = 0, "", None
    for number, value in _fields(data):
        if number == TENSOR_DIMS:
            dims += [value] if isinstance(value, int) else list(_varints(value))
        elif number == TENSOR_TYPE and isinstance(value, int):
            kind = value
        elif number == TENSOR_NAME:
            name = str(_bytes(value), "utf-8")
        elif number == TENSOR_RAW:
            raw = _bytes(value)
    if kind != FLOAT or raw is None:
        return name, None
    return name, np.frombuffer(raw, np.dtype("<f4")).reshape(dims)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message in order: number, and its value, a number or the bytes of whatever it is.

    Raises:
        ValueError: the message is cut off, or encoded otherwise.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == BYTES:
            length, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            length = struct.calcsize("<d" if kind == FIXED64 else "<f")
        else:
            raise ValueError(f"a field of kind {kind}")
        if at + length > len(data):
            raise ValueError("cut off")
        yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number at a place, 7 bits a byte with the lowest first, and the place behind it."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _varints(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where bytes should be")
    return value
