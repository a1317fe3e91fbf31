"""Tesseract: files only in a private folder, an end at once, and one sentence for each way in which it can fail."""

import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytesseract
import pytest
from PIL import Image

from tests.kit.printed import printed
from tests.kit.waiting import gone, wait_until
from vlm_demo.errors import OcrUnavailable, Stopped
from vlm_demo.runtime import tesseract

HANGS = "sleep 600; echo never"
TOTAL = printed(["TOTAL"])


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder that is named for private files. The system's is another one."""
    (tmp_path / "own").mkdir()
    (tmp_path / "system").mkdir()
    monkeypatch.setenv(tesseract.FOLDER_VARIABLE, str(tmp_path / "own"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "system"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "system"))
    return tmp_path / "own"


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Lets a shell script stand for Tesseract. It writes its process id into the file that is returned."""

    def put(script: str) -> Path:
        pid_file = tmp_path / "process"
        program = tmp_path / "another tesseract"
        program.write_text(f"#!/bin/sh\n[ $1 = --list-langs ] && echo eng && exit\necho $$ > '{pid_file}'\n{script}\n")
        program.chmod(0o700)
        monkeypatch.setattr(pytesseract.pytesseract, "tesseract_cmd", str(program))
        return pid_file

    return put


def test_letters_have_boxes_of_their_own():
    text = tesseract.read_hocr(TOTAL, 6)
    assert "ocrx_cinfo" in text and "x_bboxes" in text and "x_wconf" in text


class TestFiles:
    def test_they_lie_in_a_private_folder_and_nowhere_else(self, private: Path):
        seen, modes, done = set(), set(), threading.Event()

        def watch() -> None:
            while not done.is_set():
                for folder in private.iterdir():
                    try:
                        modes.add(stat.S_IMODE(folder.stat().st_mode))
                        seen.update(path.name for path in folder.iterdir())
                    except FileNotFoundError:
                        continue

        watching = threading.Thread(target=watch)
        watching.start()
        before = (private.parent / "system").stat().st_mtime_ns
        try:
            tesseract.read_hocr(TOTAL, 6)
        finally:
            done.set()
            watching.join()
        assert (private.parent / "system").stat().st_mtime_ns == before
        assert modes == {0o700} and "picture.ppm" in seen
        assert any(name.startswith("tess_") for name in seen)  # pytesseract's own are there too
        assert not list(private.iterdir())

    def test_they_go_when_it_fails(self, private: Path, instead):
        instead("exit 1")
        with pytest.raises(OcrUnavailable):
            tesseract.read_hocr(TOTAL, 6)
        assert not list(private.iterdir())

    def test_where_files_cannot_be_written_it_says_so_and_names_no_path(self, private: Path):
        private.rmdir()
        with pytest.raises(OcrUnavailable, match=f"cannot be written.*{tesseract.FOLDER_VARIABLE}") as raised:
            tesseract.read_hocr(TOTAL, 6)
        assert str(private) not in str(raised.value)


class TestStopping:
    def test_it_returns_at_once_and_nothing_goes_on(self, private: Path, instead):
        pid_file = instead(HANGS)

        def cancelled() -> bool:
            return pid_file.exists() and bool(pid_file.read_text().strip())

        with pytest.raises(Stopped):
            tesseract.read_hocr(TOTAL, 6, cancelled)
        assert wait_until(lambda: gone(int(pid_file.read_text())))
        assert not list(private.iterdir())

    def test_it_is_heard_while_a_large_picture_is_still_written(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(subprocess, "Popen", None)  # no program is started any more
        asked = iter([False, True])
        with pytest.raises(Stopped):
            tesseract.read_hocr(Image.new("RGB", (3000, 3000), "white"), 6, lambda: next(asked))

    @pytest.mark.skipif(os.name != "posix", reason="elsewhere it goes on to its time limit")
    def test_it_ends_with_the_program_that_asked(self, private: Path, instead):
        pid_file = instead(HANGS)
        code = (
            "import sys, pytesseract; from PIL import Image; from vlm_demo.runtime import tesseract\n"
            f"pytesseract.pytesseract.tesseract_cmd = {pytesseract.pytesseract.tesseract_cmd!r}\n"
            "tesseract.read_hocr(Image.new('RGB', (9, 9)), 6)"
        )
        asking = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
        try:
            assert wait_until(lambda: pid_file.exists() and bool(pid_file.read_text().strip()))
        finally:
            asking.kill()
            asking.wait()
        assert wait_until(lambda: gone(int(pid_file.read_text())))


class TestFailing:
    def test_a_program_that_hangs_is_given_up(self, private: Path, instead, monkeypatch: pytest.MonkeyPatch):
        pid_file = instead(HANGS)
        monkeypatch.setattr(tesseract, "LONGEST_SECONDS", 1.0)
        with pytest.raises(OcrUnavailable, match="too long"):
            tesseract.read_hocr(TOTAL, 6)
        if pid_file.exists():
            assert wait_until(lambda: gone(int(pid_file.read_text())))
        assert not list(private.iterdir())

    @pytest.mark.parametrize("script", ["kill -SEGV $$", "echo broken >&2; exit 1", "exit 0"])
    def test_a_program_that_crashes_is_one_sentence(self, instead, script: str):
        instead(script)
        with pytest.raises(OcrUnavailable) as raised:
            tesseract.read_hocr(TOTAL, 6)
        assert str(raised.value) == tesseract.UNREADABLE

    @pytest.mark.parametrize("name", ["nonesuch", "/no/such/folder/tesseract"])
    def test_a_program_that_is_not_there_is_named(self, monkeypatch: pytest.MonkeyPatch, name: str):
        monkeypatch.setattr(pytesseract.pytesseract, "tesseract_cmd", name)
        assert tesseract.available() == tesseract.INSTALL
        with pytest.raises(OcrUnavailable, match="tesseract-ocr"):
            tesseract.read_hocr(TOTAL, 6)

    def test_a_file_that_is_no_program_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        (tmp_path / "tesseract").write_bytes(b"\x7fELF nothing")
        (tmp_path / "tesseract").chmod(0o700)
        monkeypatch.setattr(pytesseract.pytesseract, "tesseract_cmd", str(tmp_path / "tesseract"))
        with pytest.raises(OcrUnavailable, match="does not run"):
            tesseract.read_hocr(TOTAL, 6)

    def test_without_the_package_it_says_how_to_get_it(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "pytesseract", None)
        assert tesseract.available() == tesseract.INSTALL_PACKAGE
        with pytest.raises(OcrUnavailable, match="pip install pytesseract"):
            tesseract.read_hocr(TOTAL, 6)


def test_the_program_may_lie_anywhere(instead):
    instead('exec tesseract "$@"')
    assert tesseract.available() is None
    assert tesseract.read_hocr(TOTAL, 6).count("ocrx_cinfo") == len("TOTAL")
