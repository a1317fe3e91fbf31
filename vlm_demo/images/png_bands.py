"""PNG bands: a PNG too large to be decoded at once → its rows, some at a time.

A row of a PNG is stored as its difference from the one above, so each band is wrapped as a separate PNG that begins
with the last row of the band before, and Pillow decodes it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type → bytes of a pixel of 8 bits a sample


@dataclass(frozen=True)
class Header:
    """What IHDR says: pixels, bits a sample, colour type, and whether the rows are interlaced."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def by_rows(self) -> bool:
        """Whether ``bands`` can read it."""
        return self.depth == 8 and self.colour in SAMPLES and not self.interlaced


def header(stream: BinaryIO) -> Header | None:
    """The header of a PNG, read from the stream's begin; None where it is none."""
    stream.seek(0)
    head = stream.read(29)
    if len(head) < 29 or head[:8] != SIGNATURE or head[12:16] != b"IHDR":
        return None
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", head[16:29])
    return Header(width, height, depth, colour, bool(interlace))


def bands(stream: BinaryIO, rows: int) -> Iterator[Image.Image]:
    """Pictures of ``rows`` rows, the last one of what is left, from top to bottom.

    Raises:
        OSError: the file ends before its last row.
        zlib.error: it is damaged.
    """
    head = header(stream)
    assert head is not None and head.by_rows
    line = 1 + head.width * SAMPLES[head.colour]
    palette_chunks: list[tuple[bytes, bytes]] = []  # the palette and what of it is transparent
    above, buffer, top = b"", bytearray(), 0
    inflate = zlib.decompressobj()
    stream.seek(len(SIGNATURE))
    for name, body in _chunks(stream):
        if name in (b"PLTE", b"tRNS"):
            palette_chunks.append((name, body))
        if name != b"IDAT":
            continue
        while body and top < head.height:
            wanted = min(rows, head.height - top) * line
            buffer += inflate.decompress(body, wanted - len(buffer))
            body = inflate.unconsumed_tail
            if len(buffer) == wanted:
                band = _picture(head, palette_chunks, above, bytes(buffer), line)
                above = b"\0" + band.crop((0, band.height - 1, head.width, band.height)).tobytes()
                top += wanted // line
                buffer.clear()
                yield band
        if top == head.height:
            return
    raise OSError("a PNG ended early")


def _picture(
    head: Header, palette_chunks: list[tuple[bytes, bytes]], above: bytes, rows: bytes, line: int
) -> Image.Image:
    height = (len(above) + len(rows)) // line
    ihdr = struct.pack(">IIBBBBB", head.width, height, head.depth, head.colour, 0, 0, 0)
    chunks = [(b"IHDR", ihdr), *palette_chunks, (b"IDAT", zlib.compress(above + rows, 0)), (b"IEND", b"")]
    file = io.BytesIO(SIGNATURE + b"".join(_chunk(name, body) for name, body in chunks))
    with Image.open(file, formats=("PNG",)) as band:
        band.load()
    return band.crop((0, 1, head.width, height)) if above else band


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """(name, body) of those that matter, long ones in pieces."""
    while len(head := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"IEND":
            return
        if name == b"IDAT":
            while length and (piece := stream.read(min(length, 1 << 20))):
                length -= len(piece)
                yield name, piece
            stream.seek(4, io.SEEK_CUR)
        elif name in (b"PLTE", b"tRNS") and length <= 768:
            yield name, stream.read(length)
            stream.seek(4, io.SEEK_CUR)
        else:
            stream.seek(length + 4, io.SEEK_CUR)
