"""Download: a hub id → a folder in the hub's local cache. Interrupted downloads of large files are resumed.

Nothing is fetched in vain: first the config, which shows whether the model can run here, then the free disk space.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from vlm_demo.errors import ModelNotFound, UnsupportedModel
from vlm_demo.models import refusals
from vlm_demo.trust import PICKLE, Trust
from vlm_demo.words import gigabytes

Progress = Callable[[float | None, str], None]

WANTED = ("*.json", "*.jinja", "*.safetensors", "*.model", "*.txt")
PICKLED = "pytorch_model*.bin"
# The same weights once more, for other programs.
UNWANTED = ("*/*.safetensors", "consolidated*", "open_clip*")
LARGE = 50_000_000  # bytes; smaller files are fetched again rather than continued


def fetch(
    name: str,
    trust: Trust,
    check_config: Callable[[Path], object],
    report: Progress,
    alternatives: str,
    revision: str | None = None,
) -> Path:
    """Download what is not here yet.

    Args:
        name: the hub id.
        check_config: raises for a folder whose config.json can't be run here.
        report: see ``loading.load``.
        alternatives: what to choose where the hub can't deliver, in words.
        revision: a commit, branch or tag; None = the main branch.
    Raises:
        ModelNotFound: one sentence for each way in which there is no such model here.
        UnsupportedModel: what ``check_config`` raises; it is an adapter, its weights are pickles, or they are damaged.
    """
    import httpx2
    from huggingface_hub import errors, snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=["config.json"]))
        if not (folder / "config.json").is_file():
            adapter_folder = Path(snapshot_download(name, revision=revision, allow_patterns=[refusals.ADAPTER]))
            refusals.refuse_adapter(adapter_folder, name)
            raise ModelNotFound(f"{name} on the hub holds no model (no config.json): choose another one.")
        check_config(folder)
        commit, sizes = _listing(name, revision)
        weights = _weights(name, list(sizes), trust)
        large = {file: sizes[file] for file in weights if sizes[file] >= LARGE}
        _continue(name, commit, large, report)
        patterns: dict[str, Any] = {"allow_patterns": [*WANTED, *weights], "ignore_patterns": list(UNWANTED)}
        return Path(snapshot_download(name, revision=revision, tqdm_class=_bar(name, report), **patterns))
    except errors.RevisionNotFoundError as error:
        raise ModelNotFound(
            f"The hub's {name} has no revision {revision}: name one of its commits, branches or tags."
        ) from error
    except errors.GatedRepoError as error:
        raise ModelNotFound(
            f"The hub gives {name} only to people who accepted its licence: accept it on the model's page, then log in "
            "with `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotFound(
            f"The hub has no model {name}, or it is private: check the spelling, or log in with `hf auth login`."
        ) from error
    except errors.HFValidationError as error:
        raise ModelNotFound(f"{name} is no valid hub id: it has the form OWNER/NAME.") from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, httpx2.TransportError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise ModelNotFound(f"The disk is too full to download {name}: free some space and try again.") from error
        raise ModelNotFound(
            f"{name} is not on this machine and the hub cannot be reached: check the connection and try again (what "
            f"has arrived is kept), or choose {alternatives}."
        ) from error


def _listing(name: str, revision: str | None) -> tuple[str, dict[str, int]]:
    """The commit that a revision of a model is on the hub, and its files with their bytes; nothing where the hub can't
    be reached, for all may be here already."""
    import httpx2
    from huggingface_hub import errors, model_info

    try:
        info = model_info(name, revision=revision, files_metadata=True)
    except (errors.OfflineModeIsEnabled, errors.HfHubHTTPError, httpx2.TransportError):
        return "", {}
    return info.sha or "", {file.rfilename: file.size or 0 for file in info.siblings or ()}


def _weights(name: str, files: Sequence[str], trust: Trust) -> list[str]:
    """The files that hold weights: safetensors, or pickles where there is nothing else and they are allowed.

    Raises:
        UnsupportedModel: there are only pickles, and they are not allowed.
    """
    safe = [f for f in files if fnmatch(f, "*.safetensors") and not any(fnmatch(f, pattern) for pattern in UNWANTED)]
    pickled = [f for f in files if fnmatch(f, PICKLED)]
    if not safe and pickled and not trust.pickle:
        raise UnsupportedModel(only_pickles(name))
    return safe or pickled


def only_pickles(name: str) -> str:
    """The sentence for a model without safetensors."""
    return (
        f"{name} has no weights in safetensors files, only in PyTorch's older format, which can hide code: choose "
        f"another checkpoint, or start with {PICKLE} if you trust its owner."
    )


def _continue(name: str, commit: str, files: dict[str, int], report: Progress) -> None:
    """Download large files into the hub's cache, from where they were interrupted.

    The hub's client keeps whole files, and starts an interrupted one anew.
    """
    from huggingface_hub import constants, file_download

    files = {
        file: size
        for file, size in files.items()
        if not isinstance(file_download.try_to_load_from_cache(name, file, revision=commit), str)
    }
    if not files:
        return
    blobs = Path(constants.HF_HUB_CACHE) / file_download.repo_folder_name(repo_id=name, repo_type="model") / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    partial_files = {file: _PartialFile(name, commit, file, size, blobs) for file, size in files.items()}
    total, done = sum(files.values()), sum(partial.bytes for partial in partial_files.values())
    free = shutil.disk_usage(blobs).free
    if total - done > free:
        raise ModelNotFound(
            f"The disk is too full to download {name}: it takes {gigabytes(total - done)} more and there are "
            f"{gigabytes(free)}; free some space and try again."
        )
    done = 0
    for partial in partial_files.values():
        partial.finish(_bar(name, report, done, total))
        done += partial.size


class _PartialFile:
    """A partly downloaded file: what has arrived lies next to its place in the cache."""

    def __init__(self, name: str, commit: str, file: str, size: int, blobs: Path) -> None:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        self.name, self.file, self.size = name, file, size
        self.url = hf_hub_url(name, file, revision=commit)
        # For a large file this is the SHA-256 of its content.
        self.sum = get_hf_file_metadata(self.url).etag or ""
        self.place, self.part = blobs / self.sum, blobs / f"{self.sum}.part"
        if self.bytes > size:
            self.part.unlink(missing_ok=True)

    @property
    def bytes(self) -> int:
        """How many have arrived."""
        return next((path.stat().st_size for path in (self.place, self.part) if path.is_file()), 0)

    def finish(self, bar: type) -> None:
        """Fetch the rest.

        Raises:
            UnsupportedModel: what arrived is not what the hub holds.
        """
        from huggingface_hub import file_download, utils

        with utils.WeakFileLock(self.part.with_suffix(".lock")):
            if self.place.is_file() or not self.sum:
                return
            with self.part.open("ab") as file:
                headers = utils.build_hf_headers()
                file_download.http_get(
                    self.url,
                    file,
                    resume_size=file.tell(),
                    headers=headers,
                    expected_size=self.size,
                    tqdm_class=bar,
                )
            if len(self.sum) == 2 * hashlib.sha256().digest_size and _sum(self.part) != self.sum:
                self.part.unlink()
                raise UnsupportedModel(f"{self.file} of {self.name} arrived damaged: try again.")
            os.replace(self.part, self.place)


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bar(name: str, report: Progress, before: int = 0, total: int = 0) -> type:
    """A progress bar class for the hub's client that reports to ``report`` and draws nothing.

    Args:
        before: bytes of the files that came before.
        total: bytes of all files; 0 = the bar's own total, if that is large.
    """
    from tqdm import tqdm

    class DownloadBar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            self.of_bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **{**kwargs, "disable": False, "file": _NullWriter()})

        def update(self, n: float | None = 1) -> bool | None:
            drawn = super().update(n)
            whole = total or self.total or 0
            if self.of_bytes and whole >= LARGE:
                done = before + self.n
                report(min(1.0, done / whole), f"Downloading {name}: {done / 1e9:.2f} of {whole / 1e9:.2f} GB")
            return drawn

    return DownloadBar


class _NullWriter:
    """A file that discards what is written."""

    def write(self, _text: str) -> None: ...

    def flush(self) -> None: ...
