"""Patch labels: the vision encoder learns to name what each patch shows, from the exact outlines.

A picture → 224 × 224 pixels and, for each of its patches, the shape, the colour, the traits, whether the middle of an
object lies in it, how large the object is, which of a row of its like it is, and which points of the patch it covers.
The last is the easiest to learn and carries the others: a shape is told by its edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from vlm_demo.synthetic.world import COLOURS, NOUNS, TRAITS, Picture, Thing, instance_map

IMAGE_SIZE, PATCH_SIZE = 224, 16
GRID = IMAGE_SIZE // PATCH_SIZE
POINTS = 4  # each patch is judged by POINTS × POINTS points of the instance map
MEAN, STD = 0.5, 0.5
SHAPE_NAMES = ("background", *NOUNS)
COLOUR_NAMES = ("background", *COLOURS)
SHAPE_INDEX = {name: i for i, name in enumerate(SHAPE_NAMES)}
COLOUR_INDEX = {name: i for i, name in enumerate(COLOUR_NAMES)}
ROWED = ("bar", "tab", "navigation item", "chip", "list item")  # what stands in rows that labels count off
MOST = 12  # the last place in a row that is told apart


@dataclass(frozen=True)
class PatchLabels:
    """What each patch shows, row by row.

    Attributes:
        thing: int64 [patches], which of the picture's things, -1 = background or too mixed to say.
        shape, colour: int64 [patches], 0 = background, -100 = too mixed to say.
        middle: float32 [patches], shares of the objects' middles: each is dealt out bilinearly to the patches around
            it, so that it adds up to 1 wherever it lies.
        traits: float32 [patches, traits], 1 for each of TRAITS that the thing has.
        order: int64 [patches], which of its row a thing of ROWED is, 1..MOST from the left or from the top, 0 = none.
        extent: float32 [patches, 2], log of the object's width and height as shares of the padded side, 0 elsewhere.
        covered: float32 [patches, POINTS * POINTS], 1 where any object covers the point.
        row, column: int64 [patches], the third of the picture (not of its padding) in which the patch lies, 0..2.
    """

    thing: np.ndarray
    shape: np.ndarray
    colour: np.ndarray
    traits: np.ndarray
    order: np.ndarray
    middle: np.ndarray
    extent: np.ndarray
    covered: np.ndarray
    row: np.ndarray
    column: np.ndarray


@dataclass(frozen=True)
class Places:
    """Where a picture's things lie.

    Attributes:
        thing: int64 [patches], which of the things a patch shows, -1 = none.
        spots: for each thing the patches around its middle, four at most.
        zones: for each thing in which third from the top (0..2) and in which half from the left (0, 1) of the picture
            its middle lies.
        texts: for each thing what is written on it or names it, "" if nothing.
    """

    thing: np.ndarray
    spots: list[list[int]]
    zones: list[tuple[int, int]]
    texts: list[str]

    def patches(self, thing: int) -> list[int]:
        """The patches that show a thing, or those around its middle where it is too small or hidden to own one."""
        return np.flatnonzero(self.thing == thing).tolist() or self.spots[thing]


def model_pixels(image: Image.Image) -> np.ndarray:
    """uint8 [IMAGE_SIZE, IMAGE_SIZE, 3]: padded to a square with mid grey, then resized, as the checkpoint's
    ``LlavaImageProcessor`` does."""
    side = max(image.size)
    if image.width != image.height:
        canvas = Image.new("RGB", (side, side), (int(MEAN * 255),) * 3)
        canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = canvas
    return np.asarray(image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR))


def patch_labels(picture: Picture) -> PatchLabels:
    """Label every patch by the thing that covers most of it, if that is at least a quarter of the patch."""
    points = instance_map(picture, GRID * POINTS).reshape(GRID, POINTS, GRID, POINTS).transpose(0, 2, 1, 3)
    cells = points.reshape(GRID * GRID, POINTS * POINTS)
    counts = np.stack([(cells == i).sum(1) for i in range(len(picture.things) + 1)], 1)
    best = counts[:, 1:].argmax(1) if len(picture.things) else np.zeros(len(cells), int)
    cover = counts[np.arange(len(cells)), best + 1] if len(picture.things) else np.zeros(len(cells), int)
    shapes = np.array([SHAPE_INDEX[t.shape] for t in picture.things] or [0])
    colours = np.array([COLOUR_INDEX[t.colour] for t in picture.things] or [0])
    orders = np.array(_orders(picture.things) or [0])
    traits = np.array([[name in t.traits for name in TRAITS] for t in picture.things] or [[False] * len(TRAITS)])
    width, height = picture.image.size
    side = max(width, height)
    sizes = np.array([_extent(t, side) for t in picture.things] or [(0.0, 0.0)])
    shown, unclear = cover >= POINTS * POINTS // 4, (cover > 0) & (cover < POINTS * POINTS // 4)
    shape, colour = np.where(shown, shapes[best], 0), np.where(shown, colours[best], 0)
    shape[unclear] = colour[unclear] = -100
    middle = np.zeros(GRID * GRID, np.float32)
    for thing in picture.things:
        for patch, share in _dealt(thing, picture.image.size):
            middle[patch] = min(1.0, middle[patch] + share)
    extent = np.where(shown[:, None], sizes[best], 0.0).astype(np.float32)
    covered = (cells > 0).astype(np.float32)
    centres = (np.arange(GRID) + 0.5) / GRID * side
    across, down = (((centres - (side - n) // 2) * 3 // n).clip(0, 2).astype(np.int64) for n in (width, height))
    thirds = (np.repeat(down, GRID), np.tile(across, GRID))
    return PatchLabels(
        np.where(shown, best, -1),
        shape.astype(np.int64),
        colour.astype(np.int64),
        (traits[best] & shown[:, None]).astype(np.float32),
        np.where(shown, orders[best], 0).astype(np.int64),
        middle,
        extent,
        covered,
        *thirds,
    )


def _orders(things: tuple[Thing, ...]) -> list[int]:
    """For each thing which of its row it is, from the left or from the top, 0 where it stands in none."""
    orders = [0] * len(things)
    for shape in ROWED:
        row = [i for i, thing in enumerate(things) if thing.shape == shape]
        spread = np.ptp([things[i].centre for i in row], axis=0) if row else (0, 0)
        axis = int(spread[1] > spread[0])
        for place, i in enumerate(sorted(row, key=lambda i: things[i].centre[axis])):
            orders[i] = min(place + 1, MOST)
    return orders


def places(picture: Picture, labels: PatchLabels) -> Places:
    """Where the picture's things lie; ``labels`` are its patch labels."""
    spots, zones = [], []
    for thing in picture.things:
        spots.append(sorted({patch for patch, _ in _dealt(thing, picture.image.size)}))
        x, y = (at / length for at, length in zip(thing.centre, picture.image.size, strict=True))
        zones.append((min(max(int(y * 3), 0), 2), int(x >= 0.5)))
    return Places(labels.thing, spots, zones, [thing.text for thing in picture.things])


def patch_boxes(size: tuple[int, int]) -> np.ndarray:
    """float32 [patches, 4]: what each patch covers in a picture of this size, which is padded to a square."""
    side = max(size)
    edges = np.arange(GRID + 1, dtype=np.float32) * side / GRID
    across, down = (edges - (side - length) // 2 for length in size)
    boxes = [(across[c], down[r], across[c + 1], down[r + 1]) for r in range(GRID) for c in range(GRID)]
    return np.array(boxes, dtype=np.float32)


def _dealt(thing: Thing, size: tuple[int, int]) -> list[tuple[int, float]]:
    """The patches around the thing's middle and the bilinear share of it that each gets, of a picture of this size."""
    side = max(size)
    axes = []
    for at, length in zip(thing.centre, size, strict=True):
        grid = (at + (side - length) // 2) / side * GRID - 0.5
        first = math.floor(grid)
        axes.append([(min(max(first + i, 0), GRID - 1), 1 - abs(grid - first - i)) for i in (0, 1)])
    return [(y * GRID + x, across * down) for y, down in axes[1] for x, across in axes[0]]


def _extent(thing, side: int) -> tuple[float, float]:
    x0, y0, x1, y1 = thing.box
    return float(np.log(max(x1 - x0, 1) / side)), float(np.log(max(y1 - y0, 1) / side))


class PatchHead(nn.Module):
    """A linear reader of each patch feature, used in training only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.parts = (len(SHAPE_NAMES), len(COLOUR_NAMES), len(TRAITS), MOST + 1, 1, 2, POINTS * POINTS)
        self.read = nn.Linear(width, sum(self.parts))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """features [B, patches, width] → logits of shape, colour, traits, order and middle, the extent, logits of
        covered."""
        return self.read(features).split(self.parts, dim=-1)


def patch_loss(outputs: tuple[Tensor, ...], labels: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of shape, colour and place in a row, binary cross-entropy of the traits and the middle, L1 of the
    extent on objects, binary cross-entropy of the covered points.

    Foreground patches weigh three times a background patch: most of a picture is background.
    """
    shape, colour, traits, order, middle, extent, covered = (o.float() for o in outputs)
    weight = torch.where(labels["shape"] > 0, 3.0, 1.0)
    weight = weight * (labels["shape"] != -100)
    losses = [
        functional.cross_entropy(logits.transpose(1, 2), labels[key], ignore_index=-100, reduction="none")
        for key, logits in (("shape", shape), ("colour", colour))
    ]
    named = (sum(losses) * weight).sum() / weight.sum()
    middles = functional.binary_cross_entropy_with_logits(middle.squeeze(-1), labels["middle"])
    shown = (labels["shape"] > 0).float()
    many = shown.sum().clamp(min=1)
    sizes = ((extent - labels["extent"]).abs().sum(-1) * shown).sum() / many
    had = functional.binary_cross_entropy_with_logits(traits, labels["traits"], reduction="none").sum(-1)
    rowed = (labels["order"] > 0).float()
    places = functional.cross_entropy(order.transpose(1, 2), labels["order"], reduction="none")
    further = (had * shown).sum() / many + 0.5 * (places * rowed).sum() / rowed.sum().clamp(min=1)
    edges = functional.binary_cross_entropy_with_logits(covered, labels["covered"])
    return named + further + 5 * middles + 0.3 * sizes + 2 * edges


def patch_accuracy(outputs: tuple[Tensor, ...], labels: dict[str, Tensor]) -> Tensor:
    """The share of foreground patches whose shape and colour are both named right."""
    shown = labels["shape"] > 0
    right = (outputs[0].argmax(-1) == labels["shape"]) & (outputs[1].argmax(-1) == labels["colour"])
    return (right & shown).sum() / shown.sum().clamp(min=1)


def as_pixel_values(pixels: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] → float [B, 3, H, W], normalised as the checkpoint's image processor does."""
    return (pixels.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
