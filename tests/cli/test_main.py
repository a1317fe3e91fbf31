"""The command line: what it prints, where, and with which exit code. The engine behind it is scripted."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.main import get_command

from tests.kit.tiny import tiny_clip
from vlm_demo.cli.command import Command, application, one_of
from vlm_demo.cli.main import COMMANDS, main
from vlm_demo.cli.output import content_word, follow
from vlm_demo.contracts import (
    DEFAULT_OCR,
    Answer,
    HeatmapSettings,
    MapRequest,
    Memory,
    OcrResult,
    OcrSettings,
    Prompt,
    StageEvent,
    Timings,
    Token,
    TokenEvent,
    Trace,
    View,
    Word,
)
from vlm_demo.contracts.engine import Capabilities, Event, Request
from vlm_demo.engines import local
from vlm_demo.errors import BadImage, ModelNotFound
from vlm_demo.images.open import Page
from vlm_demo.trust import NONE, Trust

ROOT = Path(__file__).parents[2]


class Ramp:
    """Draws a map of words that the answer has: hotter from left to right and down."""

    def heatmap(self, answer: Answer, wanted: MapRequest) -> np.ndarray:
        answer.steps(wanted.word)
        width, height = answer.views[wanted.image].size
        return np.linspace(0, 1, width * height, dtype=np.float32).reshape(height, width)


class Scripted:
    """An engine that answers "a red circle" and records its requests."""

    calls: list[tuple[str, Any, dict[str, Any]]] = []
    name, precision, device = "llava", "bf16", "cpu"
    capabilities = Capabilities(writes=True, explains=True, scores=True, quantizes=True, logprobs=True)
    text = "a red circle"

    @classmethod
    def load(
        cls, name: str, quantize: str, device: str | None, progress: Any, trust: Trust, image_hosts: tuple = ()
    ) -> "Scripted":
        if name == "nonsense":
            raise ModelNotFound("There is no model nonsense; embedded are llava.")
        assert trust == NONE
        hosts = {"image_hosts": image_hosts} if image_hosts else {}
        cls.calls.append(("load", name, {"quantize": quantize, "device": device, **hosts}))
        return cls()

    def answer(self, images: Sequence[str], text: str) -> Answer:
        views = []
        for image in images:
            image = image.source if isinstance(image, Page) else image
            if not Path(image).exists():
                raise BadImage(f"{image} is missing.")
            picture = Image.open(image).convert("RGB")
            cells, boxes = np.zeros((2, 2, 3), np.uint8), np.zeros((4, 4), np.float32)
            views.append(View(picture, picture.size, cells, (2, 2), boxes, ("First frame only.",)))
        rows = np.ones((3, 1, 1, 4), np.float16)
        return Answer(
            text=text,
            tokens=tuple(Token(word, i, 0.5) for i, word in enumerate(text.split())),
            words=tuple(Word(word, i, i + 1) for i, word in enumerate(text.split())),
            prompt=Prompt("<image>?", (1, 2), 1, (0,), ()),
            views=tuple(views),
            ocr=None,
            timings=Timings(total=0.5),
            memory=Memory(1000, 2000),
            model="llava",
            trace=Trace(rows, None, None, (4,), 0, HeatmapSettings()),
            drawer=Ramp(),
        )

    def stream(self, request: Request) -> Iterator[Event]:
        self.calls.append(("stream", request.images, vars(request)))
        yield StageEvent("view", 0.1)
        for i in range(len(self.text)):
            yield TokenEvent(Token(self.text[i], i, 0.5), self.text[: i + 1])
        yield self.answer([image for image in request.images if isinstance(image, str | Page)], self.text)

    def explain(self, request: Request, text: str) -> Answer:
        self.calls.append(("explain", request.images, vars(request)))
        return self.answer([image for image in request.images if isinstance(image, str | Page)], text)

    def score(self, image: Any, texts: list[str]) -> SimpleNamespace:
        self.calls.append(("score", image, {"texts": texts}))
        share = 1 / len(texts)
        return SimpleNamespace(
            texts=tuple(texts),
            probabilities=(share,) * len(texts),
            similarities=(0.25,) * len(texts),
            temperature=0.05,
            matches=(0.9,) * len(texts) if "matching" in texts else None,
            view=SimpleNamespace(notes=("First frame only.",)),
            stages=(StageEvent("compare", 0.5),),
            model="clip",
        )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, dict[str, Any]]]:
    monkeypatch.setattr(local, "load", Scripted.load)
    monkeypatch.setattr(local, "announcement", lambda _name: "")
    monkeypatch.setattr(Scripted, "calls", [])
    return Scripted.calls


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 20), "red").save(path)
    return str(path)


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vlm_demo", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, **options
    )


def test_the_answer_goes_to_stdout_and_notes_to_stderr(calls: list, picture: str, capsys: Any) -> None:
    assert main(["ask", picture, "What is it?", "--ocr", "--max-new-tokens", "7", "--quantize", "4bit"]) == 0
    output = capsys.readouterr()
    assert output.out == "a red circle\n"
    assert output.err == "First frame only.\n"
    assert calls[0] == ("load", "llava", {"quantize": "4bit", "device": None})
    what, images, settings = calls[1]
    assert what == "stream" and images == (picture,) and settings["question"] == "What is it?"
    assert (settings["ocr"], settings["evidence_only"], settings["max_new_tokens"]) == (True, False, 7)
    assert settings["ocr_settings"] == DEFAULT_OCR


@pytest.mark.parametrize("words", [["ask"], ["explain"], ["score"]])
def test_hosts_of_pictures_are_allowed_by_name(calls: list, picture: str, words: list[str], capsys: Any) -> None:
    arguments = [*words, "--allow-image-host", "Images.example.org,b.org", picture, "a red circle", "a red circle"]
    if words == ["ask"]:
        arguments.pop()
    assert main(arguments) == 0
    assert calls[0][2]["image_hosts"] == ("images.example.org", "b.org")
    arguments[2] = "https://b.org"
    capsys.readouterr()
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        "--allow-image-host takes the names of hosts, such as images.example.org: 'https://b.org' is none.\n"
    )


def test_scores_are_a_table(calls: list, picture: str, capsys: Any) -> None:
    assert main(["score", picture, "a red star", "no"]) == 0
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        "probability  similarity  match  text",
        "      50.0%       0.250      –  a red star",
        "      50.0%       0.250      –  no",
    ]
    assert output.err == "First frame only.\n"
    assert calls[0][:2] == ("load", "clip") and calls[1] == ("score", picture, {"texts": ["a red star", "no"]})


def test_scores_as_json_and_with_matches(calls: list, picture: str, capsys: Any) -> None:
    assert main(["score", picture, "matching", "--model", "blip2"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "     100.0%       0.250    90%  matching"
    assert main(["score", "--json", picture, "matching", "two"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["model"] == "clip" and output["temperature"] == 0.05 and output["seconds"] == {"compare": 0.5}
    assert output["texts"][1] == {"text": "two", "probability": 0.5, "similarity": 0.25, "match": 0.9}
    assert [call[1] for call in calls if call[0] == "load"] == ["blip2", "clip"]


def test_a_score_needs_a_text(calls: list, picture: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["score", picture])
    assert caught.value.code == 2 and "at least one text" in capsys.readouterr().err and not calls


def test_several_pictures_and_options_between_them(calls: list, picture: str, capsys: Any) -> None:
    assert main(["ask", picture, "--evidence-only", picture, "Which is red?"]) == 0
    _, images, settings = calls[1]
    assert images == (picture, picture) and settings["question"] == "Which is red?" and settings["evidence_only"]


def test_a_page_is_chosen_of_each_file(calls: list, picture: str) -> None:
    assert main(["ask", picture, "What is it?", "--page", "3"]) == 0
    assert main(["ask", picture, picture, "What is it?", "--page=2"]) == 0
    assert [call[1] for call in calls if call[0] == "stream"] == [(Page(picture, 3),), (Page(picture, 2),) * 2]
    with pytest.raises(SystemExit):
        main(["ask", picture, "What is it?", "--page", "0"])


def test_a_page_is_chosen_for_what_explains_and_scores_too(calls: list, picture: str) -> None:
    assert main(["explain", picture, "What is it?", "a red star", "--page", "2"]) == 0
    assert main(["score", picture, "a red star", "--page", "4"]) == 0
    assert [call[1] for call in calls if call[0] == "explain"] == [(Page(picture, 2),)]
    assert [call[1] for call in calls if call[0] == "score"] == [Page(picture, 4)]


def test_text_is_read_as_the_options_say(calls: list, picture: str, capsys: Any) -> None:
    options = ["--ocr", "--ocr-language", "eng+eng", "--ocr-confidence", "60"]
    assert main(["ask", picture, "What is it?", *options]) == 0
    assert calls[1][2]["ocr_settings"] == OcrSettings("eng+eng", "tesseract", 60)


def test_a_missing_language_is_reported_before_the_model_is_loaded(calls: list, picture: str, capsys: Any) -> None:
    for command in (["ask", picture, "What is it?"], ["explain", picture, "What is it?", "a circle"]):
        assert main([*command, "--ocr", "--ocr-language", "xyz"]) == 2
        output = capsys.readouterr().err
        assert "can't read xyz here: choose among" in output and "eng" in output and output.count("\n") == 1
    assert not calls


def test_text_that_was_left_out_is_reported(calls: list, picture: str, monkeypatch: Any, capsys: Any) -> None:
    read = OcrResult("TOTAL 12.50", (), 0.1, left_out=40, note="It looks Greek.")
    answer = Scripted.answer
    monkeypatch.setattr(Scripted, "answer", lambda *arguments: replace(answer(*arguments), ocr=read))
    assert main(["ask", picture, "What is it?", "--ocr"]) == 0
    output = capsys.readouterr().err
    assert "40 of 40 words, far from the question, are left out." in output and "It looks Greek.\n" in output
    assert main(["ask", picture, "What is it?", "--ocr", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ocr_left_out"] == 40


def test_json_is_one_object_and_nothing_else(calls: list, picture: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "map.png"
    assert main(["ask", picture, picture, "What is it?", "--json", "--heatmap", str(out)]) == 0
    output = capsys.readouterr()
    answer = json.loads(output.out)
    assert answer["text"] == "a red circle" and answer["image_tokens"] == answer["prompt"]["image_tokens"] == 1
    assert answer["tokens"][1] == {"text": "red", "id": 1, "probability": 0.5, "alternatives": [], "likeliest": None}
    assert answer["timings"]["total"] == 0.5 and answer["memory"] == {"parameter_bytes": 1000, "process_bytes": 2000}
    assert answer["prompt"]["text"] == "<image>?" and answer["ocr"] is None
    assert answer["notes"] == ["First frame only."] * 2
    assert answer["heatmap"] == str(out) and answer["heatmap_word"] == "red"
    for file in (out, out.with_name("map-2.png")):
        assert Image.open(file).size == (30, 20)
    assert output.err == ""


def test_explain_draws_the_word_of_a_given_answer(calls: list, picture: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "map.png"
    arguments = ["explain", picture, "What is it?", "blue star", "--heatmap", str(out), "--word", "star", "--json"]
    assert main(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["text"] == "blue star" and answer["heatmap_word"] == "star" and out.exists()


def test_a_missing_word_costs_the_heatmap_and_not_the_answer(calls: list, picture: str, tmp_path: Path, capsys: Any):
    out = tmp_path / "map.png"
    assert main(["ask", picture, "What is it?", "--heatmap", str(out), "--word", "star"]) == 2
    output = capsys.readouterr()
    assert output.out == "a red circle\n" and "does not hold “star”" in output.err and not out.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["ask", "nowhere.png", "What?"], "nowhere.png is missing."),
        (["ask", "a.png", "What?", "--model", "nonsense"], "There is no model nonsense"),
        (["ask", "a.png", "What?", "--heatmap", "map.txt"], "no picture's name"),
        (["ask", "a.png", "What?", "--heatmap", "nowhere/map.png"], "There is no folder nowhere"),
        (["evaluate", "nowhere"], "There is no folder nowhere"),
        (["evaluate", "."], "holds no items.jsonl"),
    ],
)
def test_an_error_is_one_sentence_on_stderr(
    calls: list, arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == "" and sentence in output.err and output.err.count("\n") == 1


def test_an_interrupt_is_silent(calls: list, picture: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Scripted, "stream", interrupted)
    assert main(["ask", picture, "What?"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_missing_package_names_the_next_step(calls: list, picture: str, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    def missing(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(local, "load", missing)
    assert main(["ask", picture, "What?"]) == 2
    assert "torch is not installed; `make demo`" in capsys.readouterr().err


def test_evaluate_prints_a_table_and_writes_the_figures(
    calls: list, picture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(Scripted, "text", "red")
    lines = [
        {"image": "a.png", "question": "What colour?", "answer": answer, "kind": "colour", "metric": "exact"}
        for answer in ("Red!", "blue")
    ]
    (tmp_path / "items.jsonl").write_text("\n".join([*map(json.dumps, lines), "{broken"]))
    out, answers = tmp_path / "figures.json", tmp_path / "answers.jsonl"
    assert main(["evaluate", str(tmp_path), "--json", str(out), "--answers", str(answers)]) == 0
    output = capsys.readouterr()
    assert "50.0%" in output.out and "line 3: the line is not JSON" in output.out
    assert "2/2" in output.err  # the bar
    figures = json.loads(out.read_text())
    assert figures["overall"]["n"] == 2 and figures["kinds"]["colour"]["accuracy"] == 0.5
    assert figures["settings"]["precision"] == "bf16" and len(figures["skipped"]) == 1
    assert [json.loads(line)["right"] for line in answers.read_text().splitlines()] == [True, False]


@pytest.mark.parametrize("name", ["ask", "explain", "doctor", "evaluate"])
def test_a_command_explains_itself_without_loading_anything_heavy(name: str) -> None:
    program = (
        "import sys; from vlm_demo.cli.main import main\n"
        f"try: main([{name!r}, '--help'])\n"
        "except SystemExit as end: code = end.code\n"
        "sys.exit(code or any(heavy in sys.modules for heavy in ('torch', 'transformers', 'gradio', 'numpy')))"
    )
    output = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert output.returncode == 0 and output.stderr == ""
    assert f"Usage: python -m vlm_demo {name} " in output.stdout


def test_the_program_explains_itself_without_importing_a_command() -> None:
    program = (
        "import sys; from vlm_demo.cli.main import COMMANDS, main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'torch', 'transformers', 'gradio', 'numpy', 'pydantic'}\n"
        "files = {'vlm_demo.cli.' + name.replace('-', '_') for name in COMMANDS}\n"
        "print(code, (heavy | files) & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert output.stderr == "" and output.stdout.splitlines()[-1] == "0 set()"
    assert all(f"\n  {name} " in output.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_file_and_explains_itself(name: str, capsys: Any) -> None:
    for flag in ("--help", "-h"):
        with pytest.raises(SystemExit) as stopped:
            main([name, flag])
        assert stopped.value.code == 0 and f"Usage: python -m vlm_demo {name} " in capsys.readouterr().out


def test_a_question_may_begin_with_a_hyphen(calls: list, picture: str) -> None:
    assert main(["ask", "--ocr", picture, "-- or is it blue?"]) == 0
    assert main(["ask", picture, "-5", "--word=red circle"]) == 0
    assert main(["ask", picture, "--", "--ocr"]) == 0
    requests = [settings for what, _, settings in calls if what == "stream"]
    assert [request["question"] for request in requests] == ["-- or is it blue?", "-5", "--ocr"]
    assert [request["ocr"] for request in requests] == [True, False, False]


@pytest.mark.parametrize("wrong", [["--nope"], ["--word"], ["--word", "--json"], ["--quantize", "3bit"], ["--help=1"]])
def test_options_that_make_no_sense_end_the_program(calls: list, picture: str, wrong: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["ask", picture, "What?", *wrong])
    output = capsys.readouterr()
    assert caught.value.code == 2 and output.out == "" and wrong[0].partition("=")[0] in output.err and not calls


def test_an_option_of_several_values_ends_at_the_next_one() -> None:
    taken: list[Any] = []
    app = application()

    @app.command(cls=Command)
    def run(
        context: typer.Context,
        folder: str,
        sides: Annotated[list[int] | None, typer.Option()] = None,
        names: Annotated[list[str] | None, typer.Option(parser=one_of(("a", "b")))] = None,
        fast: Annotated[bool, typer.Option("--fast")] = False,
    ) -> None:
        taken.append((context.obj, folder, sides, names, fast))

    command = get_command(app)

    def parsed(*words: str) -> Any:
        with command.make_context("run", list(words)) as context:
            command.invoke(context)
        return taken.pop()

    line = "run --sides 3 -4 --fast --names a b -- 'a folder'"
    assert parsed("--sides", "3", "-4", "--fast", "--names", "a", "b", "--", "a folder") == (
        *(line, "a folder", [3, -4], ["a", "b"], True),
    )
    assert parsed("here", "--sides=3", "--sides", "4")[1:] == ("here", [3, 4], None, False)
    for wrong in (["here", "--sides"], ["--sides", "--fast", "here"], ["here", "--names", "a", "c"]):
        with pytest.raises(typer.TyperException):
            parsed(*wrong)


def test_the_program_ends_with_an_exit_code_and_no_traceback(tmp_path: Path) -> None:
    output = command("evaluate", str(tmp_path / "nowhere"))
    assert output.returncode == 2 and output.stderr.count("\n") == 1 and "Traceback" not in output.stderr
    assert command("dance").returncode == 2
    assert command("ask", "only-a-picture.png").returncode == 2


def test_words_are_written_as_they_come(capsys: Any) -> None:
    def events() -> Iterator[Event]:
        yield StageEvent("prefill", 0.1)
        yield TokenEvent(Token("caf", 0, 0.5), "caf")
        assert capsys.readouterr().out == "caf"
        yield TokenEvent(Token("", 1, 0.5), "caf\ufffd")
        assert capsys.readouterr().out == ""
        yield TokenEvent(Token("é", 2, 0.5), "café")
        assert capsys.readouterr().out == "é"
        yield Scripted().answer([], "café")

    assert follow(events(), live=True).text == "café"
    assert capsys.readouterr().out == "\n"


def test_an_answer_never_steers_the_terminal(capsys: Any) -> None:
    follow(iter([Scripted().answer([], "a\x1b[2Jb\r\x07")]), live=True)
    assert not set(capsys.readouterr().out) & set("\x1b\r\x07")


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ("There is a red circle.", "red"),
        ("yes", "yes"),
        ("(Blue)", "Blue"),
        ("three", "three"),
        ("...", None),
        ("", None),
    ],
)
def test_the_default_heatmap_is_for_the_first_word_that_can_be_seen(answer: str, word: str | None) -> None:
    assert content_word(answer.split()) == word


def test_check_tries_a_model_that_only_compares(tmp_path, capsys) -> None:
    tiny_clip(tmp_path)
    assert main(["doctor", "--model", str(tmp_path)]) == 0
    assert "compares pictures with texts" in capsys.readouterr().out
