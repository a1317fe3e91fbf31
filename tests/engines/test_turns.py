"""Whose turn it is: one request computes at a time, and what needs no model keeps nobody waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.kit.engine_conformance import make_request, picture
from tests.kit.tiny import tiny_clip
from tests.kit.waiting import LONG, wait_until
from vlm_demo import Pipeline
from vlm_demo.contracts import Answer, MapRequest, OcrResult
from vlm_demo.contracts.engine import answered, heatmaps
from vlm_demo.engines.local import LocalEngine
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.engines.scheduler import ModelUse, Scheduler
from vlm_demo.errors import Stopped, WordNotInAnswer
from vlm_demo.explain.teacher_forcing import TeacherForcing


class Gate:
    """Where a thread stops until it is let through."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def pass_through(self) -> None:
        self.reached.set()
        assert self.open.wait(LONG)


@contextmanager
def in_background(gate: Gate, work: Callable[[], object]) -> Iterator[list[object]]:
    """Run ``work`` in a thread until it stands at the gate; the gate opens at the end of the block, after which its
    result is in the list."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    try:
        assert gate.reached.wait(LONG)
        yield results
    finally:
        gate.open.set()
        thread.join(LONG)


@pytest.fixture
def held(pipe: Pipeline) -> Iterator[ModelRegistry]:
    """Without a memory of other tests' pictures, and leaving none of what a test made up."""
    pipe.forget()
    yield ModelRegistry(LocalEngine(pipe), lambda *_: LocalEngine(pipe), "tiny")
    pipe.forget()


def test_while_a_page_is_read_another_request_is_answered(held: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()

    def slow(*_: object) -> OcrResult:
        gate.pass_through()
        return OcrResult("TOTAL 12.50", (), 0.0)

    monkeypatch.setattr("vlm_demo.stages.ocr.read", slow)

    def ask(ocr: bool) -> Answer:
        with held.engine() as engine:
            return answered(engine.stream(make_request(ocr=ocr)))

    with in_background(gate, lambda: ask(True)) as read:
        assert ask(False).ocr is None and not read
    (answer,) = read
    assert isinstance(answer, Answer) and answer.ocr is not None and answer.ocr.text == "TOTAL 12.50"


def test_while_the_page_of_a_given_answer_is_read_another_request_is_answered(
    held: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()

    def slow(*_: object) -> OcrResult:
        gate.pass_through()
        return OcrResult("TOTAL 12.50", (), 0.0)

    monkeypatch.setattr("vlm_demo.stages.ocr.read", slow)
    with held.engine() as engine:
        with in_background(gate, lambda: engine.explain(make_request(ocr=True), "a star")) as explained:
            assert answered(engine.stream(make_request())).tokens and not explained
        assert len(explained) == 1


def test_while_an_answer_is_judged_another_request_is_answered(
    held: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, with_hidden_patches = Gate(), TeacherForcing.with_hidden_patches

    def slow(*arguments: object) -> object:
        gate.pass_through()
        return with_hidden_patches(*arguments)

    with held.engine() as engine:
        answer = engine.explain(make_request(), "a red star")
        monkeypatch.setattr(TeacherForcing, "with_hidden_patches", slow)
        with in_background(gate, lambda: engine.grounding(answer)) as badges:
            assert answered(engine.stream(make_request())).tokens and not badges
        assert len(badges) == 1


def test_a_turn_is_over_when_its_stream_is_closed(pipe: Pipeline) -> None:
    engine = LocalEngine(pipe, batch=1)
    first = engine.stream(make_request())
    while next(first).name != "prefill":
        pass
    with pytest.raises(Stopped):
        answered(engine.stream(make_request(cancelled=lambda: engine.scheduler.waiting > 0)))
    first.close()
    assert answered(engine.stream(make_request())).tokens


def test_answers_share_their_turn_as_many_as_are_let(pipe: Pipeline) -> None:
    engine = LocalEngine(pipe, batch=2)
    assert engine.capabilities.batches and not LocalEngine(pipe, batch=1).capabilities.batches
    streams = [engine.stream(make_request()) for _ in range(2)]
    for stream in streams:
        while next(stream).name != "prefill":
            pass
    with pytest.raises(Stopped):
        answered(engine.stream(make_request(cancelled=lambda: engine.scheduler.waiting > 0)))
    assert len({answered(stream).text for stream in streams}) == 1
    assert answered(engine.stream(make_request())).tokens


def test_opening_a_picture_needs_no_turn(pipe: Pipeline) -> None:
    engine = LocalEngine(pipe)
    with engine.scheduler.turn():
        assert next(iter(engine.stream(make_request()))).name == "view"
        assert engine.with_pictures(engine.pipeline.ask(picture(), "What?", max_new_tokens=1), (picture(),)).views


def turns_of(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each turn that is taken from now on, whether it is shared."""
    taken, turn = list[bool](), engine.scheduler.turn

    def counted(cancelled: Callable[[], bool] | None = None, shared: bool = False) -> AbstractContextManager[None]:
        taken.append(shared)
        return turn(cancelled, shared)

    monkeypatch.setattr(engine.scheduler, "turn", counted)
    return taken


def test_recorded_maps_need_no_turn_and_several_others_share_one(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LocalEngine(pipe)
    answer = engine.explain(make_request(), "a red star")
    taken = turns_of(engine, monkeypatch)
    assert engine.heatmap(answer, MapRequest("red")).shape == (60, 90)
    assert [one.shape for one in heatmaps(engine, answer, [MapRequest("a"), MapRequest("star")])] == [(60, 90)] * 2
    assert len(engine.cells(answer, MapRequest("star"))) and not taken
    wanted = [MapRequest("a", method="relevancy"), MapRequest("boat"), MapRequest("star", method="rollout")]
    first, missing, last = heatmaps(engine, answer, wanted)
    assert taken == [False] and isinstance(missing, WordNotInAnswer)
    for drawn, one in ((first, wanted[0]), (last, wanted[2])):
        assert (drawn == engine.heatmap(answer, one)).all()
    with pytest.raises(Stopped):
        heatmaps(engine, answer, wanted, lambda: True)


def test_a_picture_to_be_compared_is_opened_before_the_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LocalEngine(Pipeline.from_pretrained(tiny_clip(tmp_path)))
    scoring = engine.pipeline.part_that_scores()
    taken, opened, view = turns_of(engine, monkeypatch), list[int](), scoring.view

    def counted(*arguments: object, **named: object) -> object:
        opened.append(len(taken))
        return view(*arguments, **named)

    monkeypatch.setattr(scoring, "view", counted)
    assert engine.score(picture(), ["a star", "a boat"]).view.size == (90, 60)
    assert engine.relevancy(picture(), "a star").shape == (60, 90)
    assert opened == [0, 1] and taken == [False, False]
    with engine.scheduler.turn(), pytest.raises(Stopped):
        engine.score(picture(), ["a star"], cancelled=lambda: engine.scheduler.waiting > 0)


def test_text_is_read_and_its_picture_encoded_without_a_turn(
    held: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlm_demo.stages.ocr.read", lambda *_: OcrResult("TOTAL 12.50", (), 0.0))
    with held.engine() as engine:
        assert isinstance(engine, LocalEngine)
        stream = engine.stream(make_request(ocr=True, cancelled=lambda: engine.scheduler.waiting > 0))
        with engine.scheduler.turn():
            assert [next(stream).name, next(stream).name] == ["view", "ocr"]
            with pytest.raises(Stopped):
                next(stream)


def test_waiting_for_a_turn_lengthens_no_time(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    late, engine = 0, LocalEngine(pipe)
    clock, turn = 0.0, engine.scheduler.turn

    def now() -> float:
        nonlocal clock
        clock += 1e-6
        return clock + late

    @contextmanager
    def slow(cancelled: Callable[[], bool] | None = None, shared: bool = False) -> Iterator[None]:
        nonlocal late
        late += 10_000
        with turn(cancelled, shared):
            yield

    monkeypatch.setattr("time.perf_counter", now)
    monkeypatch.setattr(engine.scheduler, "turn", slow)
    assert 0 < answered(engine.stream(make_request())).timings.total < 1000


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    scheduler, order = Scheduler(), list[int]()

    def take(number: int) -> None:
        with scheduler.turn():
            order.append(number)

    with scheduler.turn():
        threads = []
        for number in range(4):
            threads.append(threading.Thread(target=take, args=(number,)))
            threads[-1].start()
            assert wait_until(lambda number=number: scheduler.waiting == number + 1)
    for thread in threads:
        thread.join(LONG)
    assert order == [0, 1, 2, 3] and not scheduler.waiting


def test_what_needs_the_model_alone_waits_for_those_before_it_and_keeps_later_ones_waiting() -> None:
    scheduler, order = Scheduler(3), list[str]()

    def take(name: str, shared: bool) -> threading.Thread:
        def work() -> None:
            with scheduler.turn(shared=shared):
                order.append(name)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    with scheduler.turn(shared=True), scheduler.turn(shared=True):
        threads = [take("alone", False)]
        assert wait_until(lambda: scheduler.waiting == 1)
        threads.append(take("later", True))
        assert wait_until(lambda: scheduler.waiting == 2)
        assert not order
    for thread in threads:
        thread.join(LONG)
    assert order == ["alone", "later"] and not scheduler.waiting


def test_who_no_longer_wants_a_turn_leaves_the_queue() -> None:
    scheduler = Scheduler()
    with scheduler.turn():
        with pytest.raises(Stopped), scheduler.turn(lambda: True):
            pass
        assert not scheduler.waiting
    with scheduler.turn(lambda: True):  # nobody before it
        pass


def test_a_model_is_exchanged_when_nobody_uses_it() -> None:
    use, exchanged = ModelUse(), threading.Event()

    def exchange() -> None:
        with use.exchange():
            exchanged.set()

    with use.use(), use.use():
        thread = threading.Thread(target=exchange)
        thread.start()
        assert wait_until(lambda: refused(use)) and not exchanged.is_set()
    thread.join(LONG)
    assert exchanged.is_set() and not refused(use)


def refused(use: ModelUse) -> bool:
    """Whether a new job would have to wait."""
    try:
        with use.use(lambda: True):
            return False
    except Stopped:
        return True
