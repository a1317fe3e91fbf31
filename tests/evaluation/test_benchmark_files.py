"""ChartQA, DocVQA and TextVQA in their published formats: what is read, refused, asked and counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.kit.planted_answer import answer
from tests.kit.tiny import tiny_llava
from vlm_demo.cli.main import main
from vlm_demo.contracts.engine import Capabilities, Event, Request
from vlm_demo.errors import VlmDemoError
from vlm_demo.evaluation import run
from vlm_demo.evaluation.benchmark_files import CHARTQA, DOCVQA, TEXTVQA, Benchmark, read
from vlm_demo.evaluation.report import Report

CHART = {"imgname": "41699051005347.png", "query": "How many food items are shown?", "label": "14"}
DOCUMENT = {
    "questionId": 49153,
    "question": "What is the date?",
    "question_types": ["form"],
    "image": "documents/pybv0228_81.png",
    "docId": 10,
    "answers": ["January 10", "Jan 10"],
    "data_split": "val",
}
SCENE = {
    "question_id": 34602,
    "image_id": "003a8ae2ef43b901",
    "question": "what is the brand of this camera?",
    "answers": ["nous", "nous", "dakota", "nous les", "dakota", "clos", "dakota", "dakota digital", "dakota", "dps"],
    "set_name": "val",
}
SHAPES = [(CHARTQA, CHART, "png/41699051005347.png"), (DOCVQA, DOCUMENT, "documents/pybv0228_81.png"),
          (TEXTVQA, SCENE, "train_images/003a8ae2ef43b901.jpg")]  # fmt: skip


def written(folder: Path, benchmark: Benchmark, entries: list[Any]) -> Path:
    """The benchmark's file with these entries, next to a picture of each."""
    content = entries if benchmark is CHARTQA else {"dataset_version": "1.0", "data": entries}
    for kind, record, picture in SHAPES:
        if kind is benchmark and record in entries:
            (folder / picture).parent.mkdir(exist_ok=True)
            Image.new("RGB", (60, 60), "red").save(folder / picture)
    file = folder / "val.json"
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize(("benchmark", "record", "picture"), SHAPES)
def test_each_is_read_in_its_published_format(tmp_path: Path, benchmark: Benchmark, record: dict, picture: str) -> None:
    (item,), skipped = read(benchmark, written(tmp_path, benchmark, [record]), tmp_path)
    assert skipped == [] and item.image == picture and (tmp_path / item.image).is_file()
    assert item.question == record.get("query", record.get("question")) and item.metric == benchmark.metric
    assert list(item.answers) == record.get(
        "answers", [record.get("label")]
    )  # the same answer of two people stays twice
    assert (item.kind, item.place, item.line) == (f"{benchmark.name.lower()} val", "val.json, entry", 1)


@pytest.mark.parametrize(
    ("benchmark", "record", "broken", "reason"),
    [
        (CHARTQA, CHART, {"imgname": "../secret.png"}, "does not lie in the folder"),
        (CHARTQA, CHART, {"imgname": "/etc/secret.png"}, "does not lie in the folder"),
        (CHARTQA, CHART, {"imgname": None}, "'imgname' is missing"),
        (CHARTQA, CHART, {"query": " "}, "'query' is missing"),
        (CHARTQA, CHART, {"label": True}, "'label' is missing"),
        (CHARTQA, CHART, {"label": ""}, "'label' holds no text"),
        (CHARTQA, CHART, {"query": "half \ud800"}, "'query' is missing or no text"),
        (DOCVQA, DOCUMENT, {"image": "documents/../../x.png"}, "does not lie in the folder"),
        (DOCVQA, DOCUMENT, {"answers": []}, "'answers' is missing or no list"),
        (DOCVQA, DOCUMENT, {"answers": "Jan 10"}, "'answers' is missing or no list"),
        (DOCVQA, DOCUMENT, {"answers": [{}]}, "neither text nor number"),
        (TEXTVQA, SCENE, {"image_id": "../x"}, "does not lie in the folder"),
        (TEXTVQA, SCENE, {"image_id": 7}, "'image_id' is missing"),
        (TEXTVQA, SCENE, {"answers": ["nous"] * 9}, "no list of 10 texts"),
        (TEXTVQA, SCENE, {"answers": [""] * 10}, "'answers' holds no text"),
        (TEXTVQA, SCENE, {"answers": [1] * 10}, "no list of 10 texts"),
    ],
)
def test_a_broken_entry_is_skipped_and_named(
    tmp_path: Path, benchmark: Benchmark, record: dict, broken: dict, reason: str
) -> None:
    file = written(tmp_path, benchmark, [[], {**record, **broken}, record])
    items, skipped = read(benchmark, file, tmp_path)
    assert [item.line for item in items] == [3] and [one.line for one in skipped] == [1, 2]
    assert reason in skipped[1].reason and skipped[0].reason == "it is no JSON object"
    report = Report(skipped=skipped)
    assert "  val.json, entry 2: " in report.table()
    assert report.as_dict()["skipped"][1]["place"] == "val.json, entry"


@pytest.mark.parametrize(
    ("benchmark", "text", "sentence"),
    [
        (CHARTQA, "{", "is no JSON"),
        (CHARTQA, "[" * 100_000, "is no JSON"),
        (CHARTQA, '{"data": []}', "which is a list of questions"),
        (CHARTQA, "[]", "holds no question of ChartQA"),
        (DOCVQA, "[]", 'which is an object whose "data" is a list'),
        (TEXTVQA, '{"data": 3}', 'which is an object whose "data" is a list'),
        (
            DOCVQA,
            json.dumps({"data": [{"question": "?", "image": "a.png"}]}),
            "entry 1: the field 'answers' is missing",
        ),
    ],
)
def test_a_bad_file_gives_one_sentence(tmp_path: Path, benchmark: Benchmark, text: str, sentence: str) -> None:
    file = tmp_path / "val.json"
    file.write_text(text)
    with pytest.raises(VlmDemoError, match=sentence) as raised:
        read(benchmark, file, tmp_path)
    assert "\n" not in str(raised.value)


def test_bytes_a_missing_file_and_a_wrong_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "val.json").write_bytes(b"\xff\xfe\x00\xd8\x93")
    with pytest.raises(VlmDemoError, match="is no JSON"):
        read(CHARTQA, tmp_path / "val.json", tmp_path)
    with pytest.raises(VlmDemoError, match="can't be read"):
        read(CHARTQA, tmp_path / "none.json", tmp_path)
    file = written(tmp_path, CHARTQA, [CHART])
    with pytest.raises(VlmDemoError, match="holds no folder png"):
        read(CHARTQA, file, tmp_path / "elsewhere")


class Says:
    """Gives the answer that belongs to the question."""

    capabilities = Capabilities(writes=True, explains=False, scores=False, quantizes=False, logprobs=False)

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers

    def stream(self, request: Request) -> Iterator[Event]:
        yield answer(self.answers[request.question])


def test_fractions_are_summed_and_their_mean_reported(tmp_path: Path) -> None:
    other = {**DOCUMENT, "question": "Who signed?", "answers": ["sitting"]}
    wrong = {**DOCUMENT, "question": "What is the total?", "answers": ["9.00"]}
    missing = {**DOCUMENT, "image": "documents/gone.png"}
    items, skipped = read(DOCVQA, written(tmp_path, DOCVQA, [DOCUMENT, other, wrong, missing]), tmp_path)
    engine = Says({"What is the date?": "jan 10", "Who signed?": "kitten", "What is the total?": "a star"})
    with (tmp_path / "answers.jsonl").open("w") as out:
        report = run.evaluate(engine, tmp_path, items, skipped, answers=out, progress=False)
    figures = report.as_dict()
    assert figures["overall"]["accuracy"] == pytest.approx((1 + 4 / 7 + 0) / 3) and figures["overall"]["n"] == 3
    records = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [record.get("score") for record in records] == [1, pytest.approx(4 / 7), 0, None] and "right" not in records[
        0
    ]
    table = report.table()
    assert "52.4%" in table and "right: the sum of the answers' scores" in table
    assert "val.json, entry 4 (documents/gone.png): There is no file" in table


def test_right_and_wrong_stay_whole_numbers(tmp_path: Path) -> None:
    items, skipped = read(CHARTQA, written(tmp_path, CHARTQA, [CHART, {**CHART, "label": "13.5"}]), tmp_path)
    report = run.evaluate(Says({CHART["query"]: "14"}), tmp_path, items, skipped, progress=False)
    assert report.overall.right == 2 and "sum of" not in report.table()


def test_the_answers_of_ten_people_are_counted(tmp_path: Path) -> None:
    items, skipped = read(TEXTVQA, written(tmp_path, TEXTVQA, [SCENE]), tmp_path)
    report = run.evaluate(Says({SCENE["question"]: "The Nous."}), tmp_path, items, skipped, progress=False)
    assert report.overall.right == pytest.approx(0.6)


@pytest.mark.parametrize(("benchmark", "record", "picture"), SHAPES)
def test_the_command_reads_their_files(
    tmp_path: Path, capsys: Any, benchmark: Benchmark, record: dict, picture: str
) -> None:
    file, out = written(tmp_path, benchmark, [record, {}]), tmp_path / "figures.json"
    option = f"--{benchmark.name.lower()}"
    words = ["evaluate", str(tmp_path), option, str(file), "--model", str(tiny_llava(tmp_path / "model"))]
    assert main([*words, "--json", str(out), "--max-new-tokens", "2"]) == 0
    figures = json.loads(out.read_text())
    assert figures["overall"]["n"] == 1 and list(figures["kinds"]) == [f"{benchmark.name.lower()} val"]
    assert figures["settings"]["benchmark"] == benchmark.name and figures["settings"]["metric"] == benchmark.metric
    assert "val.json, entry 2: the field" in capsys.readouterr().out


def test_the_command_refuses_what_does_not_go_together(tmp_path: Path, capsys: Any) -> None:
    for options in (["--docvqa", "b.json"], ["--pointing"], ["--hallucination"]):
        with pytest.raises(SystemExit):
            main(["evaluate", str(tmp_path), "--chartqa", "a.json", *options])
        assert "--chartqa, --docvqa and --textvqa" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path), "--chartqa", str(tmp_path / "a.json")]) == 2
    assert "can't be read" in capsys.readouterr().err
