"""`ask --engine`: a server's answer on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.kit.chat_server import chat_server
from vlm_demo import app
from vlm_demo.cli.main import main
from vlm_demo.contracts.checks import NAMES
from vlm_demo.engines.connection import Connection
from vlm_demo.engines.remote import NO_MAPS


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "a.png"
    Image.new("RGB", (60, 40), "red").save(path)
    return str(path)


def test_the_answer_is_the_servers_and_stderr_says_what_is_missing(picture: str, capsys) -> None:
    with chat_server() as server:
        assert main(["ask", picture, "What is it?", "--engine", server.address, "--engine-model", "mine"]) == 0
        assert server.last_body["model"] == "mine" and server.paths == ["/v1/chat/completions"]
    output = capsys.readouterr()
    assert output.out == "a red square\n" and output.err == f"mine wrote this answer on a server. {NO_MAPS}\n"


def test_an_answer_that_the_server_cut_is_told_as_unfinished(picture: str, capsys) -> None:
    with chat_server(tokens=("a",) * 9) as server:
        ask = ["ask", picture, "What is it?", "--engine", server.address, "--max-new-tokens", "2"]
        assert main(ask) == 0
        assert "The answer is unfinished: the model was not allowed to write more.\n" in capsys.readouterr().err
        assert main([*ask, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["full"] is True


def test_a_heatmap_that_cannot_be_had_does_not_cost_the_answer(picture: str, tmp_path: Path, capsys) -> None:
    out = tmp_path / "map.png"
    with chat_server() as server:
        assert main(["ask", picture, "What is it?", "--engine", server.address, "--heatmap", str(out)]) == 2
    output = capsys.readouterr()
    assert output.out == "a red square\n" and output.err.endswith(f"{NO_MAPS}\n") and not out.exists()


def test_a_checkpoint_here_draws_it(picture: str, tmp_path: Path, checkpoint: Path, capsys) -> None:
    out = tmp_path / "map.png"
    with chat_server() as server:
        with_it = ["--engine", f"{server.address}/v1", "--explain-with", str(checkpoint)]
        assert main(["ask", picture, "What is it?", *with_it, "--heatmap", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["text"] == "a red square" and answer["model"] == "first" and Image.open(out).size == (60, 40)
    replay = answer["replay"]
    assert replay["by"] and 0 <= replay["agreement"] <= 1 and not replay["problem"]
    assert [token["text"] for token in replay["tokens"]] == ["a", " red", " square"]
    assert all(token["likeliest"] in (True, False) for token in answer["tokens"])
    assert any("which read it here" in note for note in answer["notes"])


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--engine-model", "x"], "--engine-model goes with --engine"),
        (["--explain-with", "llava"], "--explain-with goes with --engine"),
        (["--engine", "ftp://x"], "--engine takes a server's address"),
    ],
)
def test_flags_that_make_no_sense_are_one_sentence(flags: list[str], sentence: str, picture: str, capsys) -> None:
    assert main(["ask", picture, "What is it?", *flags]) == 2
    assert sentence in capsys.readouterr().err


def test_a_server_and_a_model_are_not_asked_for_together(picture: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ask", picture, "What is it?", "--engine", "host", "--model", "llava"])
    assert ended.value.code == 2 and "give one of them" in capsys.readouterr().err


def test_the_page_takes_the_same_flags(capsys) -> None:
    flags = app.parse(["--engine", "host", "--engine-model", "big", "--explain-with", "llava"])
    assert flags.server == Connection("host", "big", "llava")
    assert app.parse([]).server is None and app.parse([]).model == "llava"
    for wrong in (["--explain-with", "llava"], ["--engine", "host", "--model", "llava"]):
        with pytest.raises(SystemExit):
            app.parse(wrong)
        assert "--engine" in capsys.readouterr().err


def test_a_folder_is_asked_about_and_what_the_server_refuses_ends_it(picture: str, tmp_path: Path, capsys) -> None:
    out = tmp_path.parent / f"{tmp_path.name}.csv"
    words = ["ask", str(tmp_path), "What is it?", "--csv", str(out), "--engine"]
    with chat_server(status=503, error={"message": "busy"}) as server:
        assert main([*words, server.address]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    with chat_server() as server:
        assert main([*words, server.address]) == 0
    assert out.read_text().splitlines()[1:] == ["a.png,What is it?,a red square"]


def test_the_checklist_of_a_servers_answer(picture: str, capsys) -> None:
    with chat_server() as server:
        assert main(["check", picture, "What is it?", "--engine", server.address, "--json"]) == 0
        assert len(server.bodies) == 2  # the question, and the same about a blank picture
    output = json.loads(capsys.readouterr().out)
    assert output["text"] == "a red square" and [check["name"] for check in output["checks"]] == list(NAMES)
    assert output["replay"]["by"] == "" and output["replay"]["problem"] == NO_MAPS


def test_known_answers_are_held_against_a_servers(picture: str, tmp_path: Path, capsys) -> None:
    item = {"image": "a.png", "question": "What is it?", "answer": "a red square", "kind": "what", "metric": "exact"}
    (tmp_path / "items.jsonl").write_text(json.dumps(item))
    out = tmp_path / "figures.json"
    with chat_server() as server:
        assert main(["evaluate", str(tmp_path), "--engine", server.address, "--json", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert figures["overall"]["accuracy"] == 1 and figures["settings"]["model"] == "first"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["check", "a.png", "What?", "--precisions"], "--precisions loads the model here"),
        (["evaluate", ".", "--pointing"], "measure a model that is loaded here"),
        (["evaluate", "--legibility"], "measure a model that is loaded here"),
        (["fields", "a.png", "schema.json", "--model", "llava"], "give one of them"),
    ],
)
def test_what_needs_a_model_here_is_refused_in_a_sentence(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schema.json").write_text('{"properties": {"a": {}}}')
    with pytest.raises(SystemExit) as ended:
        main([*words, "--engine", "127.0.0.1:1"])
    assert ended.value.code == 2 and sentence in " ".join(capsys.readouterr().err.split())
