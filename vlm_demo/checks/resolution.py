"""Resolution: what of the upload was lost on the way to the model's pixels, and what was invented.

Values, of the picture that fared worst: those of `Sight`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from vlm_demo.contracts.checks import FAIL, OPEN, PASS, RESOLUTION, WARN, Check
from vlm_demo.contracts.geometry import View

SHRUNK = 4.0  # sixteen pixels become one
ENLARGED = 2.0  # three of four pixels are invented
SQUASHED, FLATTENED = 1.25, 2.0
CROPPED, HALF_CROPPED = 0.05, 0.5
PADDED = 0.5
ORDER = (FAIL, WARN, OPEN, PASS)

PART = "Ask about a part of it: crop the picture to what the question is about."
PART_OR_TILES = f"{PART[:-1]}, or choose a model that cuts pictures into tiles."
PAD = "Pad the picture to a square, or crop it to what the question is about."


@dataclass(frozen=True)
class Sight:
    """How a picture got to the model.

    Attributes:
        width, height: of the upload.
        seen_width, seen_height: of what of it the model gets, in the model's pixels.
        tile_width, tile_height: the size that the encoder expects.
        tiles: how many the encoder gets.
        shrunk: how many pixels of the upload lie side by side in one of the model's; below 1 it was enlarged.
        squashed: how many times larger the scale is in one direction than in the other.
        cropped: the fraction of the upload that the model never sees.
        padding: the fraction of what the model gets that is no part of the upload.
        patches: how many patches the shorter side of what it gets is long.
    """

    width: int
    height: int
    seen_width: int
    seen_height: int
    tile_width: int
    tile_height: int
    tiles: int
    shrunk: float
    squashed: float
    cropped: float
    padding: float
    patches: float


def check(views: Sequence[View]) -> Check:
    """Measure every picture; the one with the worst verdict is told."""
    found = [_of(view, f"picture {number}" if len(views) > 1 else "picture") for number, view in enumerate(views, 1)]
    return min(found, key=lambda check: ORDER.index(check.verdict))


def scale_of(view: View) -> tuple[float, float] | None:
    """How many of the model's pixels a pixel of the upload becomes, in x and in y; None where that is not known."""
    x0, y0, x1, y1 = _extent(view)
    height, width = view.processed.shape[:2]
    # A single patch: the model runs in one piece, and what its processor does is out of sight.
    return None if view.grid == (1, 1) else (width / (x1 - x0), height / (y1 - y0))


def sight_of(view: View) -> Sight | None:
    """What happened to a picture; None where that is not known."""
    scale = scale_of(view)
    if scale is None:
        return None
    (width, height), (x0, y0, x1, y1) = view.size, _extent(view)
    across, down = min(x1, width) - max(x0, 0), min(y1, height) - max(y0, 0)
    high, wide = view.processed.shape[:2]
    seen_width, seen_height = across * scale[0], down * scale[1]
    return Sight(
        width=width,
        height=height,
        seen_width=max(1, round(seen_width)),
        seen_height=max(1, round(seen_height)),
        tile_width=wide // view.tiling[1],
        tile_height=high // view.tiling[0],
        tiles=view.tiles,
        shrunk=(scale[0] * scale[1]) ** -0.5,
        squashed=max(scale) / min(scale),
        cropped=max(0.0, 1 - across * down / (width * height)),
        padding=max(0.0, 1 - across * down / ((x1 - x0) * (y1 - y0))),
        patches=min(seen_width * view.grid[1] / wide, seen_height * view.grid[0] / high),
    )


def _extent(view: View) -> tuple[float, float, float, float]:
    """What lies under the patches, padding too, in the upload's pixels."""
    boxes = view.boxes
    return float(boxes[:, 0].min()), float(boxes[:, 1].min()), float(boxes[:, 2].max()), float(boxes[:, 3].max())


def _of(view: View, name: str) -> Check:
    sight, (width, height) = sight_of(view), view.size
    if sight is None:
        why = f"What this model's own processor makes of the {name} is out of sight."
        return Check(RESOLUTION, OPEN, {"width": width, "height": height}, why, measured=f"{width} × {height}")
    findings = sorted(_findings(sight, name), key=lambda finding: ORDER.index(finding[0]))
    verdict, why, remedy = findings[0] if findings else (PASS, f"Nothing that matters of the {name} was lost.", "")
    return Check(RESOLUTION, verdict, asdict(sight), why, remedy, _measured(sight))


def _measured(sight: Sight) -> str:
    if sight.shrunk > 1.05:
        changed = f"shrunk {sight.shrunk:.1f} times"
    elif sight.shrunk < 0.95:
        changed = f"enlarged {1 / sight.shrunk:.1f} times"
    else:
        changed = "at its own size"
    parts = [f"{sight.width} × {sight.height} → {sight.seen_width} × {sight.seen_height}", changed]
    parts += [f"{sight.tiles} tiles of {sight.tile_width} × {sight.tile_height}"] * (sight.tiles > 1)
    parts += [f"{sight.cropped:.0%} cropped"] * (sight.cropped >= 0.01)
    parts += [f"{sight.padding:.0%} padding"] * (sight.padding >= 0.01)
    return ", ".join(parts)


def _findings(sight: Sight, name: str) -> list[tuple[str, str, str]]:
    """Each thing that is wrong: verdict, why, remedy; the gravest of a verdict first."""
    found = []
    if sight.patches < 1:
        why = f"The {name} is so elongated that what the model sees of it is less than one patch wide."
        found.append((FAIL, why, PART))
    if sight.cropped >= CROPPED:
        verdict = FAIL if sight.cropped >= HALF_CROPPED else WARN
        found.append((verdict, f"The model never sees {sight.cropped:.0%} of the {name}: it was cut off.", PAD))
    if sight.squashed >= SQUASHED:
        verdict = FAIL if sight.squashed >= FLATTENED else WARN
        why = f"The {name} was squashed: one direction is shrunk {sight.squashed:.1f} times as much as the other."
        found.append((verdict, why, PAD))
    if sight.shrunk >= SHRUNK:
        why = f"Of the {name} {sight.shrunk**2:.0f} pixels become one: small things and letters are gone."
        found.append((WARN, why, PART_OR_TILES))
    if sight.shrunk <= 1 / ENLARGED:
        why = f"The {name} was enlarged {1 / sight.shrunk:.1f} times: what lies between its pixels is invented."
        found.append((WARN, why, "Use a larger original."))
    if sight.padding >= PADDED:
        found.append((WARN, f"{sight.padding:.0%} of what the model gets is padding beside the {name}.", PART))
    return found
