"""The table of methods: what each reads off recorded rows, and the sentence where one can't be had."""

from dataclasses import replace

import numpy as np
import pytest

from tests.kit.planted_answer import SAID, answer, patches
from vlm_demo.contracts.checkpoint_settings import METHODS
from vlm_demo.errors import VlmDemoError, WordNotInAnswer
from vlm_demo.explain.heatmap import HeatmapSettings, draw
from vlm_demo.explain.methods import BY_NAME, TABLE, offered

FREE = [method.name for method in TABLE if method.free]


def with_rows(image: np.ndarray, settings: HeatmapSettings, patch_weights: np.ndarray | None = None):
    """An answer of one word whose step had these rows [layers, heads, image tokens]."""
    given = answer("star")
    shares = np.zeros((1, *image.shape[:2]), np.float16)
    counts = (image.shape[-1],)
    trace = replace(
        given.trace,
        image=image[None].astype(np.float16),
        text=shares,
        first=shares,
        counts=counts,
        settings=settings,
        patch_weights=patch_weights,
    )
    return replace(given, trace=trace)


def test_every_method_describes_itself() -> None:
    assert len(BY_NAME) == len(TABLE) and set(METHODS) < set(FREE)
    assert all(method.title and method.about.endswith(".") for method in TABLE)
    assert {"rollout", "relevancy", "activation", "occlusion"} <= {m.name for m in TABLE if not m.free and m.source}


def test_the_joined_maps_are_those_that_a_checkpoint_is_chosen_by() -> None:
    rows = np.random.default_rng(0).random((3, 2, 16)).astype(np.float16)
    named = ((0, 1), (2, 0))
    for method in METHODS:
        settings = HeatmapSettings(method, heads=named, weights=((0.1, 0.0), (0.0, 0.5), (0.4, 0.0)))
        given = with_rows(rows, settings)
        expected = draw(rows[None].astype(np.float32), given.view, settings)
        assert (given.heatmap("star") == expected).all() and expected.max() == 1
        assert (
            replace(given, trace=replace(given.trace, settings=replace(settings, method="mean"))).heatmap(
                "star", method=method
            )
            == expected
        ).all()


def test_the_checkpoints_layers_belong_to_its_own_method() -> None:
    rows = np.full((2, 1, 16), 0.01)
    rows[0, 0, 3], rows[1, 0, 9] = 0.5, 0.9
    given = with_rows(rows, HeatmapSettings("localised", (0,)))
    assert patches(given.heatmap("star")) == {3}
    assert patches(given.heatmap("star", method="localised")) == {3}
    assert {3, 9} <= patches(given.heatmap("star", method="mean"))
    assert patches(given.heatmap("star", method="last")) == {9}


def test_raw_attention_shows_one_layer_and_head_or_all_unscaled() -> None:
    rows = np.full((2, 2, 16), 0.001)
    for (layer, head), patch in {(0, 0): 1, (0, 1): 6, (1, 0): 11, (1, 1): 12}.items():
        rows[layer, head, patch] = 0.5
    rows[1, 1] /= 100  # a head that hardly looks at the picture
    given = with_rows(rows, HeatmapSettings())
    assert patches(given.heatmap("star", layer=0, head=1)) == {6}
    assert patches(given.heatmap("star", layer=1, method="raw")) == {11}
    assert patches(given.heatmap("star", head=0)) == {1, 11}
    assert patches(given.heatmap("star", method="raw")) == {1, 6, 11}
    assert patches(given.heatmap("star", method="mean")) == {1, 6, 11, 12}


def test_queries_show_what_the_words_queries_saw_and_the_others_did_not() -> None:
    patch_weights = np.full((1, 3, 16), 0.01)
    patch_weights[0, :, 15] = 0.8  # all queries look there
    patch_weights[0, 1, 5] = 0.2
    rows = np.full((2, 2, 3), 0.05)
    rows[..., 1] = 0.3
    given = with_rows(rows, HeatmapSettings(), patch_weights.astype(np.float16))
    assert patches(given.heatmap("star", method="queries")) == {5}
    assert patches(given.heatmap("star", method="mean")) == {15}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"method": "wish"}, "no heatmap method wish"),
        ({"method": "occlusion"}, "needs the model"),
        ({"method": "queries"}, "no Q-Former"),
        ({"method": "heads"}, "names no heads"),
        ({"method": "weighted"}, "no weights for its heads"),
        ({"method": "mean", "layer": 0}, "choose raw"),
        ({"layer": 2}, "no layer 2: this model records 2"),
        ({"head": -1}, "no head -1"),
        ({"image": 1}, "no picture 1"),
    ],
)
def test_what_cannot_be_had_raises_a_sentence(asked: dict, sentence: str) -> None:
    with pytest.raises(VlmDemoError, match=sentence):
        SAID.heatmap("large", **asked)


def test_an_absent_word_is_reported_first() -> None:
    with pytest.raises(WordNotInAnswer):
        SAID.heatmap("star")


def test_a_default_that_names_no_heads_is_still_drawn() -> None:
    given = with_rows(np.random.default_rng(0).random((2, 2, 16)), HeatmapSettings("heads"))
    assert (given.heatmap("star") == given.heatmap("star", method="localised")).all()


def test_what_an_answer_offers_without_a_model() -> None:
    reasons = offered(SAID)
    assert list(reasons) == list(BY_NAME)
    assert [name for name, reason in reasons.items() if reason is None] == ["raw", "mean", "localised", "last"]
    assert all(reason.endswith(".") for reason in reasons.values() if reason)
    assert offered(answer("a", trace=False)) == {}
