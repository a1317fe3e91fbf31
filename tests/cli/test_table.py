"""A folder of pictures and a question → a CSV file that a later run continues."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from vlm_demo.cli import table
from vlm_demo.cli.main import main
from vlm_demo.contracts.engine import Event, Request
from vlm_demo.engines import local
from vlm_demo.errors import BadImage, VlmDemoError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pictures"
    made.mkdir()
    for name in ("b.png", "a.png", "c.png", ".hidden"):
        (made / name).touch()
    (made / "sub").mkdir()
    return made


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_every_file_gets_a_row(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    found = table.pictures(folder)
    assert table.fill(out, found, "What, is it?", lambda path: f'a "{path.stem}",\nyes') == 0
    assert rows(out) == [
        ["file", "question", "answer"],
        *[[f"{name}.png", "What, is it?", f'a "{name}",\nyes'] for name in "abc"],
    ]


def test_it_goes_on_where_it_was_stopped(folder: Path, tmp_path: Path) -> None:
    out, asked_about = tmp_path / "out.csv", []

    def ask(path: Path) -> str:
        if len(asked_about) == 1:
            raise KeyboardInterrupt
        asked_about.append(path.name)
        return f"an answer\nabout {path.name}"

    with pytest.raises(KeyboardInterrupt):
        table.fill(out, table.pictures(folder), "What?", ask)
    with out.open("a", encoding="utf-8") as file:
        file.write('b.png,What?,"half an ans')  # killed in the middle of a row
    later: list[str] = []
    table.fill(out, table.pictures(folder), "What?", lambda path: later.append(path.name) or "later")
    assert asked_about == ["a.png"] and later == ["b.png", "c.png"]
    assert rows(out)[1:] == [
        ["a.png", "What?", "an answer\nabout a.png"],
        ["b.png", "What?", "later"],
        ["c.png", "What?", "later"],
    ]
    table.fill(out, table.pictures(folder), "Where?", lambda _: "here")
    assert len(rows(out)) == 7


def test_a_bad_file_is_named_and_passed_over(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def ask(path: Path) -> str:
        if path.name == "b.png":
            raise BadImage("This picture is damaged: save it again.")
        return "fine"

    out = tmp_path / "out.csv"
    assert table.fill(out, table.pictures(folder), "What?", ask) == 1
    assert [row[0] for row in rows(out)[1:]] == ["a.png", "c.png"]
    assert capsys.readouterr().err == "b.png: This picture is damaged: save it again.\n"


def test_another_file_is_not_written_over(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("name,age\nAnn,3\n")
    with pytest.raises(VlmDemoError, match="name another file"):
        table.fill(out, table.pictures(folder), "What?", lambda _: "x")
    assert out.read_text() == "name,age\nAnn,3\n"


def test_a_folder_with_pictures_is_needed(tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "missing"):
        with pytest.raises(VlmDemoError):
            table.pictures(wrong)


@pytest.mark.parametrize(
    ("answer", "written"),
    [("=1+1", "'=1+1"), ("@x", "'@x"), ("-cmd", "'-cmd"), ("-5", "-5"), ("+3,50", "+3,50"), ("a=b", "a=b")],
)
def test_an_answer_is_no_formula(folder: Path, tmp_path: Path, answer: str, written: str) -> None:
    out = tmp_path / "out.csv"
    table.fill(out, table.pictures(folder)[:1], "What?", lambda _: answer)
    assert rows(out)[1][2] == written


def test_the_command(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    asked_about: list[tuple[str, str]] = []

    class Scripted(FakeEngine):
        def stream(self, request: Request) -> Iterator[Event]:
            (image,) = request.images
            if image.name == "c.png":
                raise BadImage("This file is empty.")
            asked_about.append((image.name, request.question))
            yield from super().stream(replace(request, images=(Image.new("RGB", (9, 9)),)))

    monkeypatch.setattr(local, "load", lambda *_: Scripted())
    out = tmp_path / "out.csv"
    assert main(["ask", str(folder), "What?", "--csv", str(out)]) == 1
    assert asked_about == [("a.png", "What?"), ("b.png", "What?")] and len(rows(out)) == 3
    assert capsys.readouterr().err.endswith("c.png: This file is empty.\n")  # a model may be put together first
    with pytest.raises(SystemExit):
        main(["ask", str(folder), "What?", "--csv", str(out), "--json"])
    assert main(["ask", str(folder), "What?", "--csv", str(tmp_path / "missing" / "out.csv")]) == 2
    assert len(asked_about) == 2
