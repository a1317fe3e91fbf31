"""Heatmaps: planted weights must come out where they were planted, in the upload's own pixels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.kit.views import view
from vlm_demo.contracts import HeatmapSettings, Trace
from vlm_demo.contracts.checkpoint_settings import read_settings, write_settings
from vlm_demo.contracts.geometry import inside, interpolate
from vlm_demo.errors import UnsupportedModel, VlmDemoError
from vlm_demo.explain.heatmap import (
    combine,
    draw,
    spatial_entropy,
)


def hottest(heat: np.ndarray) -> tuple[float, float]:
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    return x + 0.5, y + 0.5


VIEWS = {
    "squash": view((500, 240), (14, 14)),
    "oblong grid": view((90, 160), (3, 5)),
    "centre crop": view((480, 240), (6, 6), (120, 0, 360, 240)),
    "padding": view((240, 120), (6, 6), (0, -60, 240, 180)),
    "patches of half a pixel": view((4, 4), (8, 8)),
    "enlarged": view((3000, 20), (14, 14)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_the_maximum_lies_at_the_planted_patchs_centre(name: str) -> None:
    seen = VIEWS[name]
    rng = np.random.default_rng(0)
    for patch, (x0, y0, x1, y1) in enumerate(seen.boxes):
        centre = (x0 + x1) / 2, (y0 + y1) / 2
        if not (0 < centre[0] < seen.size[0] and 0 < centre[1] < seen.size[1]):
            continue
        # A pixel that holds several patches shows their mean, so there the others must be weak.
        cells = rng.random(len(seen.boxes)) * (0.5 if x1 - x0 >= 1 else 0.02)
        cells[patch] = 1
        heat = interpolate(cells, seen)
        assert heat.shape == seen.size[::-1] and heat.dtype == np.float32
        assert heat.max() == 1 and heat.min() >= 0
        x, y = hottest(heat)
        # The centre lies between pixels, and the steeper side falls faster: the hottest pixel is next to it.
        assert abs(x - centre[0]) <= 1 and abs(y - centre[1]) <= 1


def test_what_the_model_did_not_see_is_zero() -> None:
    heat = interpolate(np.random.default_rng(0).random(36), VIEWS["centre crop"])
    assert not heat[:, :120].any() and not heat[:, 360:].any()
    assert heat[:, 120:360].any()


def test_weight_on_padding_is_not_shown() -> None:
    cells = np.zeros(36)
    cells[0] = 1  # a patch of padding
    cells[14] = 0.2
    heat = interpolate(cells, VIEWS["padding"])
    x0, y0, x1, y1 = VIEWS["padding"].boxes[14]
    assert hottest(heat) == pytest.approx(((x0 + x1) / 2, (y0 + y1) / 2), abs=0.51)


def test_patches_of_padding_are_not_inside() -> None:
    assert inside(VIEWS["padding"]).reshape(6, 6).all(1).tolist() == [False, False, True, True, False, False]
    assert inside(VIEWS["centre crop"]).all()


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_a_flat_map_is_all_zeros(value: float) -> None:
    assert not interpolate(np.full(196, value), VIEWS["squash"]).any()


def test_one_pixel() -> None:
    heat = interpolate(np.random.default_rng(0).random(196), view((1, 1), (14, 14)))
    assert heat.tolist() == [[1.0]]


def test_a_corner_patch_does_not_peak_at_the_border() -> None:
    cells = np.zeros(196)
    cells[0] = 1
    x, y = hottest(interpolate(cells, VIEWS["squash"]))
    assert x > 10 and y > 5


def rows_with(peaks: dict[tuple[int, int], int], layers: int = 4, heads: int = 3) -> np.ndarray:
    """[1, layers, heads, 16]: noise, and in some heads a peak at a patch."""
    rows = np.random.default_rng(1).random((1, layers, heads, 16)).astype(np.float32) * 0.01
    for (layer, head), patch in peaks.items():
        rows[0, layer, head] = 0.001
        rows[0, layer, head, patch] = 0.9
    return rows


SMALL = view((80, 80), (4, 4))


def patch_of(heat: np.ndarray) -> int:
    x, y = hottest(heat)
    return int(y // 20) * 4 + int(x // 20)


def test_mean_takes_the_layers_of_the_settings() -> None:
    rows = rows_with({(0, h): 5 for h in range(3)} | {(3, h): 10 for h in range(3)})
    assert patch_of(draw(rows, SMALL, HeatmapSettings("mean", (0,)))) == 5
    assert patch_of(draw(rows, SMALL, HeatmapSettings("mean", (-1,)))) == 10
    assert patch_of(draw(rows, SMALL, HeatmapSettings("last", (0,)))) == 10


def test_every_head_counts_alike_however_much_it_looks_at_the_picture() -> None:
    rows = np.zeros((1, 1, 3, 16), np.float32)
    rows[0, 0, 0, 3] = 0.9
    rows[0, 0, 1:, 6] = 0.001
    assert patch_of(draw(rows, SMALL, HeatmapSettings("mean"))) == 6


def test_localised_trusts_the_concentrated_heads() -> None:
    rows = np.random.default_rng(2).random((1, 4, 3, 16)).astype(np.float32)
    rows[:, :, :, 15] += 1.5  # most heads rest on one patch, and are scattered besides
    for layer in range(3):
        rows[0, layer, 1] = 0.01
        rows[0, layer, 1, 5] = 12
    assert patch_of(draw(rows, SMALL, HeatmapSettings("localised"))) == 5
    assert patch_of(draw(rows, SMALL, HeatmapSettings("mean", (3,)))) == 15


def test_heads_takes_the_named_ones_and_no_others() -> None:
    rows = np.random.default_rng(3).random((1, 4, 3, 16)).astype(np.float32)
    rows[0, 1, 2] = rows[0, 3, 0] = 0.01
    rows[0, 1, 2, 7] = rows[0, 3, 0, 12] = 1
    assert patch_of(draw(rows, SMALL, HeatmapSettings("heads", heads=((1, 2),)))) == 7
    heat = draw(rows, SMALL, HeatmapSettings("heads", heads=((1, 2), (3, 0), (9, 9))))
    assert heat[30, 70] > 0.9 and heat[70, 10] > 0.9 and np.median(heat) < 0.1
    assert (draw(rows, SMALL, HeatmapSettings("heads")) == draw(rows, SMALL, HeatmapSettings("localised"))).all()


def test_weighted_is_the_geometric_mean_of_the_heads_by_their_worth() -> None:
    rows = np.random.default_rng(4).random((2, 3, 2, 16)).astype(np.float32)
    rows[0, 1, 1] *= 0.01  # how much a head looks at the picture counts for nothing
    head_weights = np.array([[0.0, 1.0], [3.0, -0.5], [0.0, 0.0]])
    found = combine(rows, (4, 4), HeatmapSettings("weighted", weights=tuple(map(tuple, head_weights))))
    shares = (rows / rows.sum(-1, keepdims=True)).mean(0)
    expected = np.prod((1 + shares * 16 / 2) ** (head_weights / np.abs(head_weights).sum())[..., None], (0, 1))
    assert found == pytest.approx(expected / expected.max(), rel=1e-5)
    single = HeatmapSettings("weighted", weights=((0.0, 0.0), (0.0, 2.0), (0.0, 0.0)))
    assert combine(rows, (4, 4), single).argmax() == shares[1, 1].argmax()


@pytest.mark.parametrize("weights", [(), ((1.0,),), ((1.0, 1.0, 1.0),) * 3])
def test_weights_that_do_not_fit_the_model_are_left_out(weights: tuple) -> None:
    rows = np.random.default_rng(4).random((1, 4, 3, 16)).astype(np.float32)
    settings = HeatmapSettings("weighted", heads=((1, 2),), weights=weights)
    assert (combine(rows, (4, 4), settings) == combine(rows, (4, 4), HeatmapSettings("heads", heads=((1, 2),)))).all()


def test_several_steps_are_averaged() -> None:
    rows = np.concatenate([rows_with({(0, 0): 2}), rows_with({(0, 0): 9})])
    heat = draw(rows, SMALL, HeatmapSettings("mean", (0,)))
    assert heat[10, 50] > 0.8 and heat[50, 30] > 0.8 and np.median(heat) < 0.3


def test_spatial_entropy_counts_connected_regions() -> None:
    maps = np.zeros((3, 4, 4))
    maps[0, :2, :2] = 1  # one region
    maps[1, 0, 0] = maps[1, 1, 1] = 1  # one, joined over a corner
    maps[2, 0, 0] = maps[2, 3, 3] = 1  # two of the same size
    assert spatial_entropy(maps) == pytest.approx([0, 0, np.log(2)])


def test_a_traces_rows_are_one_pictures_patches() -> None:
    image = np.arange(12, dtype=np.float16).reshape(1, 1, 1, 12)
    trace = Trace(image, image[..., 0], image[..., 0], (5, 7), 1, HeatmapSettings())
    assert trace.rows(0).ravel().tolist() == [1, 2, 3, 4]
    assert trace.rows(1).ravel().tolist() == [6, 7, 8, 9, 10, 11]


def test_a_traces_rows_of_some_steps() -> None:
    image = np.random.default_rng(0).random((5, 2, 3, 12)).astype(np.float16)
    trace = Trace(image, image[..., 0], image[..., 0], (5, 7), 1, HeatmapSettings())
    chosen = trace.rows(1, [3, 1])
    assert chosen.dtype == np.float32 and chosen.shape == (2, 2, 3, 6)
    assert (chosen == image[[3, 1], :, :, 6:]).all()


def test_a_words_end_is_its_last_step_and_the_one_after() -> None:
    image = np.random.default_rng(0).random((3, 2, 3, 12)).astype(np.float16)
    trace = Trace(image, None, None, (5, 7), 1, HeatmapSettings())
    assert (trace.ending(1, [0, 1]) == trace.rows(1, [1, 2])).all()
    assert (trace.ending(0, [2]) == trace.rows(0, [2])).all()
    closing = image[:1] / 2
    rows = replace(trace, closing=closing).ending(1, [1, 2])
    assert (rows[:1] == trace.rows(1, [2])).all() and (rows[1] == closing[0, :, :, 6:]).all()


def test_any_weights_on_image_tokens_come_out_as_rows_do() -> None:
    image = np.random.default_rng(0).random((2, 2, 3, 12)).astype(np.float16)
    trace = Trace(image, image[..., 0], image[..., 0], (5, 7), 1, HeatmapSettings())
    assert (trace.on_patches(image, 1) == trace.rows(1)).all()
    assert trace.on_patches(np.arange(12.0), 0).tolist() == [1, 2, 3, 4]


def test_attention_on_queries_becomes_attention_on_patches() -> None:
    """Two pictures of two queries each; the first of five features of a picture is its class token's."""
    rng = np.random.default_rng(0)
    image = rng.random((3, 2, 1, 4)).astype(np.float16)
    patch_weights = rng.random((2, 2, 5)).astype(np.float16)
    trace = Trace(image, image[..., 0], image[..., 0], (2, 2), 1, HeatmapSettings(), patch_weights)
    for picture in range(2):
        for step in range(3):
            row = trace.rows(picture, [step])[0, 1, 0]
            for patch in range(4):
                expected = sum(
                    float(image[step, 1, 0, 2 * picture + q]) * float(patch_weights[picture, q, 1 + patch])
                    for q in (0, 1)
                )
                assert row[patch] == pytest.approx(expected, rel=1e-5)


class TestSettings:
    def test_default(self, tmp_path: Path) -> None:
        assert read_settings(tmp_path) == HeatmapSettings("mean", None)

    def test_from_the_checkpoint(self, tmp_path: Path) -> None:
        settings = {"heatmap": {"method": "layer_mean", "layers": [0, 2]}}
        (tmp_path / "vlm_demo.json").write_text(json.dumps(settings))
        assert read_settings(tmp_path) == HeatmapSettings("mean", (0, 2))
        (tmp_path / "vlm_demo.json").write_text(json.dumps({"heatmap": {"method": "heads", "heads": [[2, 1]]}}))
        assert read_settings(tmp_path) == HeatmapSettings("heads", None, ((2, 1),))

    @pytest.mark.parametrize(
        "text",
        ["{", '{"heatmap": {"method": "wish"}}', '{"heatmap": {"layers": 3}}', '{"heatmap": {"heads": [2]}}', "[]"]
        + [f'{{"heatmap": {{"method": "weighted", "weights": {bad}}}}}' for bad in ("[[1], [1, 2]]", "[[NaN]]", "2")],
    )
    def test_a_damaged_file_says_so(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "vlm_demo.json").write_text(text)
        with pytest.raises(UnsupportedModel, match="vlm_demo.json"):
            read_settings(tmp_path)

    def test_written_settings_are_read_again_and_the_rest_of_the_file_stays(self, tmp_path: Path) -> None:
        (tmp_path / "vlm_demo.json").write_text('{"heatmap": {"method": "last"}, "other": [1]}')
        settings = HeatmapSettings("localised", (3,), ((2, 1), (0, 0)), {"mean": 0.5, "occlusion": 0.9}, 40)
        write_settings(tmp_path, settings)
        assert read_settings(tmp_path) == settings
        assert json.loads((tmp_path / "vlm_demo.json").read_text())["other"] == [1]
        (tmp_path / "vlm_demo.json").unlink()
        weighted = HeatmapSettings("weighted", weights=((0.25, 0.0), (0.5, 0.25)))
        write_settings(tmp_path, weighted)
        assert read_settings(tmp_path) == weighted
        (tmp_path / "vlm_demo.json").unlink()
        write_settings(tmp_path, HeatmapSettings("queries"))
        assert read_settings(tmp_path) == HeatmapSettings("queries")

    def test_where_nothing_can_be_written_a_sentence_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "vlm_demo.json").mkdir()
        with pytest.raises(VlmDemoError, match="can't be written"):
            write_settings(tmp_path, HeatmapSettings("last"))
