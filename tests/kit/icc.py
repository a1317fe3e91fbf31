"""ICC profiles written byte by byte, and sRGB colours in their spaces, by the formulas and without a colour library."""

from __future__ import annotations

import struct

import numpy as np

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = np.array([0.95047, 1.0, 1.08883])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
# x and y of red, green and blue; the white point; the exponent of the curve.
SPACES = {
    "Display P3": (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), D65, 2.2),
    "Adobe RGB (1998)": (((0.640, 0.330), (0.210, 0.710), (0.150, 0.060)), D65, 2.2),
    "ProPhoto RGB": (((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), D50, 1.8),
    "sRGB of another name": (((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)), D65, 0.0),
}


def profile(name: str) -> bytes:
    """A profile of three primaries and one curve; exponent 0 stands for sRGB's own curve, as a table."""
    primaries, white, gamma = SPACES[name]
    columns = to_d50(primaries, white).T
    if gamma:
        curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    else:
        table = np.round(linear(np.linspace(0, 1, 1024)) * 65535).astype(">u2")
        curve = b"curv\0\0\0\0" + struct.pack(">I", 1024) + table.tobytes()
    text = name.encode() + b"\0"
    described = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    parts = [(b"desc", described), (b"wtpt", xyz(D50)), (b"cprt", b"text\0\0\0\0none\0")]
    parts += [(tag, xyz(column)) for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)]
    parts += [(tag, curve) for tag in (b"rTRC", b"gTRC", b"bTRC")]
    return assembled(b"RGB ", parts)


def grey_profile(gamma: float) -> bytes:
    """A profile of greys with one exponent."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    described = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(78)
    return assembled(b"GRAY", [(b"desc", described), (b"wtpt", xyz(D50)), (b"kTRC", curve)])


def assembled(space: bytes, parts: list[tuple[bytes, bytes]]) -> bytes:
    at, table, bodies = 128 + 4 + 12 * len(parts), b"", b""
    for tag, body in parts:
        body += bytes(-len(body) % 4)
        table += tag + struct.pack(">II", at + len(bodies), len(body))
        bodies += body
    size = at + len(bodies)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    head += bytes(28) + xyz(D50)[8:] + bytes(48)
    return head + struct.pack(">I", len(parts)) + table + bodies


def xyz(value: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(v) * 65536) for v in value))


def to_d50(primaries: tuple, white: np.ndarray) -> np.ndarray:
    """Linear RGB → XYZ as seen under D50 [3, 3]."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    matrix = columns * np.linalg.solve(columns, white)
    cones = np.diag((BRADFORD @ D50) / (BRADFORD @ white))
    return np.linalg.inv(BRADFORD) @ cones @ BRADFORD @ matrix


def linear(encoded: np.ndarray) -> np.ndarray:
    """sRGB's curve, 0..1."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def in_space(pixels: np.ndarray, name: str) -> np.ndarray:
    """sRGB uint8 [..., 3] → the same colours in a space, uint8."""
    primaries, white, gamma = SPACES[name]
    srgb = to_d50(SPACES["sRGB of another name"][0], D65)
    found = linear(pixels / 255) @ (np.linalg.inv(to_d50(primaries, white)) @ srgb).T
    return (found.clip(0, 1) ** (1 / gamma) * 255).round().astype(np.uint8)
