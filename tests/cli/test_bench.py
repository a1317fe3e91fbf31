"""The whole table, at a size that runs in seconds."""

import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from tests.kit.waiting import wait_until
from vlm_demo import Pipeline
from vlm_demo.bench import measure, shapes, timing, together
from vlm_demo.bench.measure import Measurement
from vlm_demo.bench.plain_transformers import PlainTransformers, with_attention
from vlm_demo.bench.shapes import Shape, write
from vlm_demo.cli.main import main

TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 2048,
}


BUSY = """
import http.server, sys, time
while time.process_time() < 0.2:
    pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture(autouse=True)
def small_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shape in addition to the real ones, with patches so large that a picture has few of them."""
    monkeypatch.setitem(shapes.TEXT, "tiny", TINY)
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    monkeypatch.setattr(shapes, "VISION", vision)
    monkeypatch.setattr(shapes, "PATCH", 42)
    monkeypatch.setattr(measure, "STREAMED", 2**16)
    monkeypatch.setattr(timing, "clock", timing.clock)


def test_the_table_is_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "seconds_to_page", lambda: 3.0)
    monkeypatch.setattr(measure, "seconds_to_import", lambda: 2.0)
    out = tmp_path / "run.1"
    arguments = ["--shapes", "tiny", "--tokens", "3", "--repeats", "1", "--out", str(out)]
    assert main(["bench", *arguments]) == 0
    written = json.loads((tmp_path / "run.1.json").read_text())
    rows = {(row["shape"], row["what"]): row for row in written["rows"]}
    assert (tmp_path / "run.1.png").stat().st_size > 1000 and written["machine"]["torch"]
    for what in ("load", "time to first token", "decode", "decode / memory limit", "second question"):
        assert rows["tiny, 64 image tokens", what]["ratio"] > 0
    for name in ("tiny, 16 image tokens", "tiny, 320 image tokens"):
        assert rows[name, "decode"]["unit"] == "tokens/s"
    assert rows["the page, embedded model", "page ready / bare imports"]["ratio"] == pytest.approx(2 / 3)
    assert rows["tiny, 320 image tokens", "answer with heatmaps / eager"]["unit"] == "s"
    # Two layers, each of two heads: 320 × 320 weights and more, in bf16.
    assert rows["tiny, 320 image tokens", "peak extra memory / eager"]["plain"] >= 1e-3
    assert written["machine"]["clock"] == "wall"
    growing = rows["tiny", "decode at 320 / at 16 image tokens"]
    assert growing["ours"] == rows["tiny, 320 image tokens", "decode"]["ours"]
    assert growing["plain"] == rows["tiny, 16 image tokens", "decode"]["ours"]
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(rows) + 1
    for row in rows.values():
        better = row["ours"] / row["plain"] if "decode" in row["what"] else row["plain"] / row["ours"]
        assert row["ratio"] == pytest.approx(better)


def test_plain_transformers_does_the_same_work(tmp_path: Path, bf16_as_stored: None) -> None:
    """Same weights, same prompt, with a history too: the same tokens."""
    write(Shape("tiny"), tmp_path)
    pipe = measure.load(tmp_path)
    assert isinstance(pipe, Pipeline) and pipe.precision == "bf16"
    images = [measure.picture(seed) for seed in range(2)]
    answer = pipe.ask(images, measure.QUESTION, max_new_tokens=3)
    assert len(answer.tokens) == 3 and answer.prompt.image_tokens == 2 * 64
    plain = PlainTransformers(pipe)
    prompt_length = len(answer.prompt.ids)
    generated, times = plain._generate(images, 3)
    assert generated[:prompt_length] == list(answer.prompt.ids) and len(generated) == prompt_length + 3
    assert len(times) == 3 and times == sorted(times)
    history = [measure.Turn(measure.QUESTION, "a dog", (images[0],))]
    later = pipe.ask([], measure.SECOND, history=history, max_new_tokens=1)
    assert plain._generate([], 1, history)[0][:-1] == list(later.prompt.ids)


def test_a_first_question_is_timed_with_empty_caches_and_a_second_with_full_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(Shape("tiny"), tmp_path)
    pipe = measure.load(tmp_path)
    encoded: list[int] = []
    pipe.stages().llm.family.encoder_layers[0].register_forward_pre_hook(lambda *_: encoded.append(1))
    free = type("Free", (), {"first": lambda *_: 1.0, "pace": lambda *_: 1.0})
    monkeypatch.setattr(measure, "PlainTransformers", lambda _: free())
    first = next(measure.answering("tiny", pipe, 2, 2))
    assert first.plain == 1.0 and len(encoded) == 3  # a warm-up, and two that count
    encoded.clear()
    measure.asking_again("tiny", pipe, 2, 1)
    assert len(encoded) == 2


def test_plain_transformers_never_uses_the_pipelines_attention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(Shape("tiny"), tmp_path)
    pipe = measure.load(tmp_path)
    images, config = [measure.picture()], pipe.stages().llm.family.language_model.config
    attentions: list[str] = []
    layer = pipe.stages().llm.family.language_layers[0]
    layer.register_forward_pre_hook(lambda *_: attentions.append(config._attn_implementation))
    plain = PlainTransformers(pipe)
    plain.pace(images, 2)
    plain.with_attentions(images, 2)
    pipe.ask(images, measure.QUESTION, max_new_tokens=1)
    assert (
        set(attentions[:2]) == {"sdpa"} and set(attentions[2:4]) == {"eager"} and set(attentions[4:]) == {"tapped_sdpa"}
    )


def test_peak_memory_includes_freed_memory() -> None:
    with timing.peak_memory(torch.device("cpu")) as grown:
        block = torch.ones(2**25)  # 128 MiB
        assert wait_until(lambda: grown() > 2**26)
        del block
    assert 2**26 < grown() < 2**29


def test_the_page_is_started_and_terminated_with_either_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, programs, passed = tmp_path / "app.py", list[psutil.Popen](), itertools.count(0, 1000)
    app.write_text(BUSY)
    monkeypatch.setattr(measure, "APP", app)
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(passed)))  # 1000 s from one look to the next
    start = psutil.Popen
    monkeypatch.setattr(
        psutil, "Popen", lambda *given, **named: programs.append(start(*given, **named)) or programs[-1]
    )
    threads = torch.get_num_threads()
    try:
        timing.use("wall")
        assert measure.seconds_to_page() == 1000
        timing.use("cpu")
        assert 0.1 <= measure.seconds_to_page() < 1000
    finally:
        torch.set_num_threads(threads)
    assert len(programs) == 2 and all(program.poll() is not None for program in programs)
    monkeypatch.setattr(measure, "IMPORTS", "print(12.5)")
    assert measure.seconds_to_import() == 12.5
    monkeypatch.setattr(measure, "APP", Path(__file__).with_name("missing.py"))
    with pytest.raises(OSError, match="refused"):
        measure.seconds_to_page()


def test_measurements_alternate_and_the_warm_ups_do_not_count() -> None:
    order: list[str] = []

    def work(name: str, times: list[float]) -> float:
        order.append(name)
        return times.pop(0)

    ours, plain = [9.0, 1.0, 2.0, 6.0], [9.0, 5.0, 4.0, 4.0]
    assert timing.taking_turns(3, lambda: work("ours", ours), lambda: work("plain", plain)) == (2.0, 4.0)
    assert order == ["ours", "plain"] * 4


def test_concurrent_requests_are_timed_against_sequential_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(Shape("tiny"), tmp_path / "tiny")
    monkeypatch.setattr(together, "LONG_PROMPT", 200)
    together_rows, sizes = together.rows, list[int]()

    def counting_rows(name: str, pipe: Pipeline, *rest: int) -> Iterator[Measurement]:
        llm = pipe.stages().llm
        forward = llm.forward
        monkeypatch.setattr(llm, "forward", lambda rows: (sizes.append(len(rows)), forward(rows))[1])
        return together_rows(name, pipe, *rest)

    monkeypatch.setattr(together, "rows", counting_rows)
    arguments = ["--together", str(tmp_path / "tiny"), "--tokens", "6", "--repeats", "1"]
    assert main(["bench", *arguments, "--out", str(tmp_path / "run")]) == 0
    rows = {row["what"]: row for row in json.loads((tmp_path / "run.json").read_text())["rows"]}  # of fp32, the last
    assert list(rows) == [
        "8 at once / one by one, new",
        "8 at once / one by one, remembered",
        "equal answers / all",
        "longest gap / plain step",
    ]
    assert rows["equal answers / all"]["ours"] == 8 and rows["equal answers / all"]["shape"].endswith("fp32")
    assert max(sizes) > 2
    gap = rows["longest gap / plain step"]
    assert gap["ours"] > 0 and gap["ratio"] == pytest.approx(gap["plain"] / gap["ours"])


def test_a_missing_folder_is_reported_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--shapes", "tiny", "--out", str(tmp_path / "missing" / "run")]) == 2
    output = capsys.readouterr()
    assert "make it first" in output.err and output.out == ""


def test_a_missing_openvino_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert main(["bench", "--shapes", "tiny", "--openvino", "--out", str(tmp_path / "run")]) == 2
    output = capsys.readouterr()
    assert "OpenVINO is not installed" in output.err and output.out == ""


def test_openvino_computes_the_same_first_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    from vlm_demo.bench.openvino_reference import Reference

    write(Shape("tiny"), tmp_path)
    monkeypatch.setattr("vlm_demo.models.quantization.fast_bf16", lambda _device: False)  # in float32 there are no ties
    pipe = measure.load(tmp_path)
    for seed in range(3):
        images = [measure.picture(seed)]
        with with_attention(pipe, "sdpa"):
            reference = Reference(pipe, images, measure.QUESTION)
        assert reference(images) == pipe.ask(images, measure.QUESTION, max_new_tokens=1).tokens[0].id
    row = measure.against_openvino("tiny", pipe, 1)
    assert row.ratio == pytest.approx(row.plain / row.ours) and row.unit == "s"
