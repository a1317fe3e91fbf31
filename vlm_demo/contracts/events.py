"""Events: what an engine yields while it works, and what it measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from vlm_demo.contracts.features import BridgeInfo


@dataclass(frozen=True)
class Alternative:
    """A token that might have stood at a position: its text there, its id, and the natural logarithm of its softmax
    probability. A text that ends in U+FFFD is no whole character; of a control token it is its name."""

    text: str
    id: int
    logprob: float


@dataclass(frozen=True)
class Token:
    """One generated token: its text as it extends the answer, id, and softmax probability 0..1; of one that a server
    wrote, the id is -1, and the probability 0 where it was not sent.

    ``alternatives`` are the likeliest tokens at its position, it among them or not, likeliest first; empty where they
    were not asked for. ``likeliest``: whether no other token was likelier, of a token that was read and not written;
    None where that is not known.
    """

    text: str
    id: int
    probability: float
    alternatives: tuple[Alternative, ...] = ()
    likeliest: bool | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Timings:
    """Wall-clock seconds of each stage, without the consumer's time between events. ``first_token`` counts from the
    start; ``decode`` is all later tokens. The encoder may work while text is read (``EncoderFacts.overlaps_ocr``): then
    the shorter one of the two adds nothing to ``first_token`` and ``total``."""

    view: float = 0.0
    ocr: float = 0.0
    prompt: float = 0.0
    encoder: float = 0.0
    bridge: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    first_token: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class Memory:
    """Bytes, each measured: the model's parameters and buffers, and the process's resident memory."""

    parameter_bytes: int
    process_bytes: int


Shape = tuple[int, ...]


@dataclass(frozen=True)
class ViewFacts:
    """Of each picture the upload's (width, height), and the (width, height) of every tile that was made of it."""

    uploads: tuple[Shape, ...]
    tiles: tuple[tuple[Shape, ...], ...]


@dataclass(frozen=True)
class OcrFacts:
    """How many words were read, in how many pictures, and in how many of these they were cached."""

    words: int
    pictures: int = 1
    cached: int = 0


@dataclass(frozen=True)
class PromptFacts:
    """How many of the prompt's tokens are image tokens, and how many are text; and how many words that were read in
    the pictures it lacks, as the context can't hold them."""

    image_tokens: int
    text_tokens: int
    left_out: int = 0


@dataclass(frozen=True)
class EncoderFacts:
    """What the encoder made.

    Attributes:
        tiles: (width, height) of every tile.
        features: (patches, d_vision) of every tile.
        leading: how many features of a tile stand for no patch (a CLS token).
        pictures: how many there are.
        cached: of how many of them the features were cached.
        bytes: that the features take.
        overlaps_ocr: whether it worked while text was read, so that both took no longer than the longer one.
    """

    tiles: tuple[Shape, ...]
    features: tuple[Shape, ...]
    leading: int
    pictures: int
    cached: int
    bytes: int
    overlaps_ocr: bool = False


@dataclass(frozen=True)
class BridgeFacts:
    """What the bridge made.

    Attributes:
        features: (patches, d_vision) of every tile.
        tokens: (image tokens, d_llm) of every picture.
        bridge: how pictures get into this language model.
        pictures: how many there are.
        cached: of how many of them the image tokens were cached.
        bytes: that the image tokens take.
    """

    features: tuple[Shape, ...]
    tokens: tuple[Shape, ...]
    bridge: BridgeInfo
    pictures: int
    cached: int
    bytes: int


@dataclass(frozen=True)
class PrefillFacts:
    """How many tokens the prompt has, how many of them were cached, and whether each sees those after it, so that
    nothing can be cached."""

    tokens: int
    cached: int
    sees_ahead: bool


@dataclass(frozen=True)
class DecodeFacts:
    """How many tokens were written, and how many of them were cut off as repetition."""

    tokens: int
    cut: int


@dataclass(frozen=True)
class TextsFacts:
    """How many texts are compared with the picture, and the tokens of the longest."""

    texts: int
    tokens: int


@dataclass(frozen=True)
class CompareFacts:
    """(patches, d_vision) of the picture, how many texts it is compared with, and whether it is read together with each
    of them."""

    features: Shape
    texts: int
    together: bool = False


StageFacts = (
    ViewFacts
    | OcrFacts
    | PromptFacts
    | EncoderFacts
    | BridgeFacts
    | PrefillFacts
    | DecodeFacts
    | TextsFacts
    | CompareFacts
)


@dataclass(frozen=True)
class StageEvent:
    """A stage has finished: its name, its wall-clock seconds, and what it did in numbers, where that is known."""

    name: str
    seconds: float
    facts: StageFacts | None = None


@dataclass(frozen=True)
class TokenEvent:
    """A token has been generated; ``text`` is the answer so far."""

    token: Token
    text: str
