"""The Learn tab: nothing is computed before it is opened, then once; numbers against NumPy; text stays text."""

from __future__ import annotations

import gc
import json
import math
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from tests.kit.fake_engine import GRID, FakeEngine
from tests.kit.ui import event, request, run
from vlm_demo.contracts import Scores
from vlm_demo.contracts.anatomy import TEMPERATURES
from vlm_demo.contracts.events import BridgeFacts, StageEvent
from vlm_demo.engines.registry import UNEXPECTED
from vlm_demo.errors import UnsupportedModel
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.learn import about, learn_panels, lens_panel, losses, principal
from vlm_demo.ui.tabs.learn.anatomy_summary import looks_most, stays_from
from vlm_demo.ui.tabs.learn.learn_events import CONTRASTS, MATCHES, LearnComponents, LearnEvents

ROOT = Path(__file__).parents[2]
EVIL = "${alert(1)} {{x}} <img src=x onerror=alert(1)>"


class Counting(FakeEngine):
    """Counts the computations of an anatomy."""

    looks = 0

    def anatomy(self, *arguments, **named):
        self.looks += 1
        return super().anatomy(*arguments, **named)


def tab(events: Events) -> LearnEvents:
    names = {name: name for name in LearnComponents.__dataclass_fields__}
    return LearnEvents(events.sessions, events.service, LearnComponents(**names))


def ask_in_chat(events: Events, picture: Path, question: str = "What is it?") -> None:
    run(events, events.ask({"text": question, "files": [str(picture)]}, False, False, request()))


def opened(learn: LearnEvents) -> dict[str, str]:
    state = dict(learn.open(request()))
    for changes in learn.work(request()):
        state |= {name: value for name, value in changes.items() if not isinstance(value, dict)}  # skipped
    return {name: str(value) for name, value in state.items()}


def numbers(html: str, name: str) -> dict:
    return json.loads(unescape(re.search(rf'data-{name}="([^"]*)"', html)[1]))


# -- principal components -------------------------------------------------------------------------------------------


def test_axes_are_those_of_numpys_svd() -> None:
    values = np.random.default_rng(1).normal(size=(30, 12)).astype(np.float32) * np.linspace(
        3, 0.2, 12, dtype=np.float32
    )
    axes = principal.axes_of(values)
    centred = values - values.mean(0)
    # By the covariance's eigenvectors, which the code does not compute.
    weights, vectors = np.linalg.eigh(centred.T @ centred)
    for direction, vector in zip(axes.directions, vectors.T[::-1], strict=False):
        assert abs(direction @ vector) == pytest.approx(1, abs=1e-4)
        assert direction[np.abs(direction).argmax()] > 0
    assert principal.explained_variance(values, axes) == pytest.approx(
        weights[::-1][:3].sum() / weights.sum(), rel=1e-4
    )
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    scores = (u * s)[:, :3] * np.sign((vt[:3] @ axes.directions.T).diagonal())
    low, high = np.percentile(scores, principal.EDGES, axis=0)
    expected = (np.clip((scores - low) / (high - low), 0, 1) * 255).round()
    assert np.abs(principal.colours(values, axes) - expected).max() <= 1


def test_colours_do_not_flip_and_belong_to_the_reference() -> None:
    dice = np.random.default_rng(2)
    values = dice.normal(size=(40, 6)).astype(np.float32) * np.array([5, 3, 2, 1, 1, 1], np.float32)
    axes = principal.axes_of(values)
    order = dice.permutation(40)
    reordered = principal.axes_of(values[order])
    assert np.allclose(axes.directions, reordered.directions, atol=1e-4)
    # A vector keeps its colour in another company.
    assert (principal.colours(values[:5], axes) == principal.colours(values, axes)[:5]).all()


def test_few_or_equal_vectors_have_colours_too() -> None:
    for values in (np.ones((4, 5), np.float32), np.ones((1, 2), np.float32), np.eye(2, dtype=np.float32)):
        axes = principal.axes_of(values)
        assert principal.colours(values, axes).shape == (len(values), 3)
        assert 0 <= principal.explained_variance(values, axes) <= 1.0001


# -- losses ---------------------------------------------------------------------------------------------------------


def test_itc_is_the_negative_logarithm_of_the_softmax(picture) -> None:
    scores = Scores(("own", "a", "b"), (0.0,) * 3, (0.34, 0.33, 0.1), 0.01, (0.94, 0.2, 0.1), None, (), "clip")
    weights = np.exp(np.array([34.0, 33.0, 10.0]))
    assert losses.contrast(scores).loss == pytest.approx(-math.log(weights[0] / weights.sum()))
    assert losses.contrast(scores).closest == 0.33
    assert losses.match(scores).loss == pytest.approx(-math.log(0.94))


def test_lm_is_the_mean_of_the_tokens_surprise(page, picture) -> None:
    events = page()
    ask_in_chat(events, picture)
    answer = events.sessions.of("a").shown.answer
    found = losses.next_word(answer, [0.5] * 9)
    assert found.loss == pytest.approx(-np.log([token.probability for token in answer.tokens]).mean())
    assert found.perplexity == pytest.approx(1 / 0.93) and found.blank == pytest.approx(math.log(2))


def test_a_text_is_not_contrasted_with_itself() -> None:
    text = losses.NEGATIVES[1]
    assert text not in losses.others(text.lower().rstrip(".")) and len(losses.others(text)) == len(losses.NEGATIVES) - 1


# -- the tab --------------------------------------------------------------------------------------------------------


def test_before_the_first_answer_it_says_what_to_do(page) -> None:
    assert learn_panels.EMPTY in opened(tab(page()))["stage_boxes"]


def test_the_anatomy_is_computed_once_and_only_when_the_tab_is_opened(page, picture) -> None:
    engine = Counting()
    events = page(engine)
    learn = tab(events)
    ask_in_chat(events, picture)
    assert engine.looks == 0
    first = learn.open(request())
    assert lens_panel.WAITING in first["lens"] and "data-stage" in first["stage_boxes"] and engine.looks == 0
    state = opened(learn)
    assert engine.looks == 1 and "data-lens" in state["lens"]
    opened(learn)
    assert engine.looks == 1
    run(events, events.ask({"text": "And now?", "files": []}, False, False, request()))
    opened(learn)
    assert engine.looks == 2


def test_the_stages_have_this_request_s_numbers(page, picture) -> None:
    events = page()
    learn = tab(events)
    ask_in_chat(events, picture)
    html = opened(learn)["stage_boxes"]
    stages = re.findall(r'data-stage="(\w+)" data-seconds="([\d.]+)"', html)
    assert [name for name, _ in stages] == ["view", "ocr", "encoder", "bridge", "prompt", "llm", "explain"]
    times = events.sessions.of("a").shown.answer.timings
    assert float(dict(stages)["encoder"]) == times.encoder
    assert float(dict(stages)["llm"]) == pytest.approx(times.prefill + times.decode)
    for shape in ("300×200 → 168×168", "196×192", "196×256", "196 image + 6 text", "9 words × 196 patches", ">off<"):
        assert shape in html
    assert "norm 3.4 ± " in html and "text 1.0" in html  # of twelve numbers that are spread by 1


@pytest.mark.parametrize("kind, title", [("Q-Former", "Q-Former"), ("cross-attention", "Cross-attention")])
def test_another_bridge_has_another_box(page, picture, kind: str, title: str) -> None:
    events = page()
    learn = tab(events)
    ask_in_chat(events, picture)
    exchange = events.sessions.of("a").shown
    at = next(i for i, stage in enumerate(exchange.stages) if isinstance(stage.facts, BridgeFacts))
    facts = exchange.stages[at].facts
    changed = BridgeFacts(**(vars(facts) | {"bridge": type(facts.bridge)(kind, "5 queries")}))
    exchange.stages[at] = StageEvent("bridge", 0.001, changed)
    state = opened(learn)
    assert f"<b>{title}</b>" in state["stage_boxes"] and about.ABOUT[kind] in unescape(state["notes"])


def test_a_model_in_one_piece_has_fewer_boxes_and_a_sentence(page, picture, monkeypatch) -> None:
    def refuse(*_, **__):
        raise UnsupportedModel("Its stages can't be seen <apart>.")

    monkeypatch.setattr(FakeEngine, "anatomy", refuse)
    events = page()
    learn = tab(events)
    ask_in_chat(events, picture)
    exchange = events.sessions.of("a").shown
    exchange.stages = [stage for stage in exchange.stages if stage.name not in ("encoder", "bridge")]
    state = opened(learn)
    assert "can&#39;t be seen &lt;apart&gt;" in state["lens"] and 'data-stage="bridge"' not in state["stage_boxes"]
    assert "<b>Model</b>" in state["stage_boxes"] and "data-waiting" not in state["lens"]


def test_what_breaks_is_one_sentence(page, picture, monkeypatch) -> None:
    def fail(*_, **__):
        raise RuntimeError("secret")

    monkeypatch.setattr(FakeEngine, "anatomy", fail)
    events = page()
    learn = tab(events)
    ask_in_chat(events, picture)
    state = opened(learn)
    assert UNEXPECTED in unescape(state["features"]) and "secret" not in str(state)


def test_a_running_question_comes_first(page, picture) -> None:
    events = page()
    learn = tab(events)
    ask_in_chat(events, picture)
    events.ask({"text": "And now?", "files": []}, False, False, request())
    state = opened(learn)
    assert learn_panels.BUSY in state["lens"] and "data-waiting" in state["lens"]
    run(events, {})
    assert "data-lens" in opened(learn)["lens"]


def test_the_lens_has_every_layer_s_word(page, picture) -> None:
    events = page()
    learn = tab(events)
    ask_in_chat(events, picture)
    html = opened(learn)["lens"]
    figures = numbers(html, "lens")
    assert figures["words"] == "a large purple star and a small red square".split()
    assert [row[1] for row in figures["texts"]] == ["the", "<i>", "large", "large"]
    assert [row[1] for row in figures["same"]] == [0, 0, 1, 1]
    assert [row[1] for row in figures["second"]] == [0.05, 0.1, 0.4, 0.2]
    assert (
        figures["findings"][1]
        == "The picture is read most in layers 3 to 4 (at most 40%). From layer 3 on it would write “large”."
    )
    assert html.count("<tr class=") == 4


def test_next_words_are_softmax_over_the_whole_vocabulary(page, picture) -> None:
    events = page()
    learn = tab(events)
    ask_in_chat(events, picture)
    html = opened(learn)["features"]
    figures = numbers(html, "next")
    logits = np.arange(20, 0, -1.0)
    for i, temperature in enumerate(TEMPERATURES):
        weights = np.exp(logits / temperature)
        shares = np.exp(np.array(figures["logits"][0]) / temperature - figures["totals"][0][i])
        assert np.allclose(shares, weights / weights.sum(), atol=1e-3)
    first = 100 / (1 + np.exp(-np.arange(1, 20.0)).sum())
    assert f"{first:.1f} %" in html and "all others" in html and figures["temperatures"] == list(TEMPERATURES)


def test_pictures_of_several_are_chosen(page, picture, tmp_path) -> None:
    other = tmp_path / "other" / "second.png"
    other.parent.mkdir()
    other.write_bytes(picture.read_bytes())
    events = page()
    learn = tab(events)
    run(events, events.ask({"text": "Which?", "files": [str(picture), str(other)]}, False, False, request()))
    before = opened(learn)
    assert "Picture 2" in before["stage_boxes"]
    after = learn.choose(event(picture=1), request())
    assert "of picture 2" in after["features"] and str(after["features"]) != before["features"]
    assert "of picture 2" in learn.choose(event(picture=7), request())["features"]
    assert "of picture 2" in learn.choose(event(picture="x"), request())["features"]


def compute(events: Events, learn: LearnEvents, text: str) -> list[str]:
    learn.ask(event(text=text), request())
    return [str(changes["losses"]) for changes in learn.compute(request())]


def test_losses_are_computed_by_the_models_that_can(page, picture) -> None:
    loaded = []

    class Scoring(FakeEngine):
        def score(self, image, texts, **named):
            scores = super().score(image, texts, **named)
            near = tuple(0.3 - 0.1 * i for i in range(len(texts)))
            return Scores(
                scores.texts, scores.probabilities, near, 0.1, (0.8,) * len(texts), scores.view, (), self.name
            )

    def load(model, *_):
        loaded.append(model)
        return Scoring(model)

    events = page(load=load)
    learn = tab(events)
    ask_in_chat(events, picture)
    assert "–</b>" in opened(learn)["losses"]
    *doing, done = compute(events, learn, "")
    assert loaded == [CONTRASTS, MATCHES] and len(doing) == 3 and all('role="status"' in each for each in doing)
    weights = np.exp(np.array([3.0, 2.0, 1.0, 0.0, -1.0]))
    assert f"<b>{-math.log(weights[0] / weights.sum()):.2f}</b>" in done
    assert f"<b>{-math.log(0.8):.2f}</b>" in done and f"<b>{-math.log(0.93):.2f}</b>" in done
    assert "· clip" in done and "· blip2" in done and "without the picture 1.08" in done
    assert all(negative in done for negative in losses.NEGATIVES)


def test_a_model_that_cannot_is_one_sentence_and_the_others_go_on(page, picture) -> None:
    def load(model, *_):
        if model == CONTRASTS:
            raise UnsupportedModel("There is no clip here.")
        return FakeEngine(model)

    events = page(load=load)
    learn = tab(events)
    ask_in_chat(events, picture)
    opened(learn)
    done = compute(events, learn, "a cat")[-1]
    assert "There is no clip here." in done and "has no head that reads" in done and 'value="a cat"' in done


def test_text_stays_text_wherever_it_stands(page, picture) -> None:
    events = page(FakeEngine(answer=EVIL))
    learn = tab(events)
    ask_in_chat(events, picture, EVIL)
    state = opened(learn)
    state |= {"computed": compute(events, learn, EVIL)[-1]}
    for html in state.values():
        assert "<img src=x" not in html and "onerror=alert(1)>" not in html.replace("onerror=alert(1)&gt;", "")
    assert "<i>" not in re.search(r'data-lens="[^"]*"', state["lens"])[0]


def test_where_the_lens_settles_and_attends(page, picture) -> None:
    events = page()
    ask_in_chat(events, picture)
    learn = tab(events)
    opened(learn)
    summary = learn._state(events.sessions.of("a").shown).summary
    assert stays_from(summary, 0) == 2 and looks_most(summary, 0) == (2, 3, 2)
    assert summary.anatomy.before == () and summary.before[0].grid == GRID  # the large arrays are let go


def test_what_is_known_of_an_answer_goes_with_it(page, picture) -> None:
    events = page()
    learn = tab(events)
    ask_in_chat(events, picture)
    opened(learn)
    assert len(learn._states) == 1
    events.clear(request())
    gc.collect()
    assert len(learn._states) == 0 and learn_panels.EMPTY in opened(learn)["stage_boxes"]
