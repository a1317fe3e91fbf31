"""Colour: pixels in the colours of an embedded ICC profile → sRGB, which is what models were trained on."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

SAME = 3  # levels of 255: a profile that changes no colour by more is sRGB by another name
# The profile names that a note may contain: names from a file are not repeated. Each by the words in its description.
_NAMES = (
    "Display P3",
    "DCI-P3",
    "Adobe RGB",
    "ProPhoto",
    "Rec. 2020",
    "Rec2020",
    "BT.2020",
    "Apple RGB",
    "eciRGB",
    "P3",
)
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION


@dataclass(frozen=True)
class Colours:
    """How to get from a picture's colours to sRGB.

    Attributes:
        mode: ``RGB``, ``L``, ``CMYK`` or ``LAB``, what the profile describes.
        name: what a note calls the profile; empty = it has no known name.
    """

    mode: str
    name: str
    _opaque: ImageCms.ImageCmsTransform
    _with_alpha: ImageCms.ImageCmsTransform | None

    def __call__(self, image: Image.Image) -> Image.Image:
        """``image`` (of ``mode``, or RGBA where that is RGB) in sRGB, RGB or RGBA; others as they are."""
        transform = self._opaque if image.mode == self.mode else self._with_alpha if image.mode == "RGBA" else None
        converted = None if transform is None else ImageCms.applyTransform(image, transform)
        return image if converted is None else converted

    @property
    def note(self) -> str:
        return f"The picture's colours were converted from {self.name or 'its own profile'} to sRGB."


def colours_of(profile: bytes | None, mode: str) -> Colours | None:
    """What an embedded profile does to a picture of ``mode``; None where it does nothing, or can't be understood.

    A profile that belongs to other colours than the picture has is a mistake of whoever wrote the file, and ignored.
    """
    if mode == "LAB":
        return _colours(ImageCms.createProfile("LAB"), "LAB", "Lab")
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = _SPACES.get(source.profile.xcolor_space.strip(), "")
        described = (source.profile.profile_description or "").lower().replace(" ", "")
        name = next((name for name in _NAMES if name.lower().replace(" ", "") in described), "")
        found = _colours(source, space, name) if space in ("RGB", "L", "CMYK") else None
    except Exception:  # on crafted profiles the library raises anything
        return None
    base_mode = {"RGBA": "RGB", "RGBa": "RGB", "RGBX": "RGB", "P": "RGB", "PA": "RGB", "1": "L", "LA": "L", "La": "L"}
    base_mode |= {"I;16": "L", "I": "L", "F": "L", "I;16L": "L", "I;16B": "L", "I;16N": "L"}
    if found is None or base_mode.get(mode, mode) != found.mode or _changes_nothing(found):
        return None
    return found


def _colours(profile: ImageCms.ImageCmsProfile | ImageCms.core.CmsProfile, mode: str, name: str) -> Colours:
    srgb = ImageCms.createProfile("sRGB")
    opaque = ImageCms.buildTransform(profile, srgb, mode, "RGB", _INTENT, _FLAGS)
    transparent = ImageCms.buildTransform(profile, srgb, "RGBA", "RGBA", _INTENT, _FLAGS) if mode == "RGB" else None
    return Colours(mode, name, opaque, transparent)


def _changes_nothing(colours: Colours) -> bool:
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    if colours.mode == "L":
        probe = np.repeat(levels[None, :, None], 3, 2)
        shown = colours(Image.fromarray(probe[:, :, 0]))
    elif colours.mode == "RGB":
        probe = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3)
        shown = colours(Image.fromarray(probe))
    else:
        return False
    return int(np.abs(np.asarray(shown).astype(int) - probe).max()) <= SAME
