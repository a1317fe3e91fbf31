"""Methods compared, the choice of a default, and badges, on a pipeline whose attention is planted."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.kit.planted_answer import answer
from tests.kit.views import view
from vlm_demo.cli import options
from vlm_demo.cli.main import main
from vlm_demo.contracts import Answer, Evidence, HeatmapSettings, MapRequest
from vlm_demo.contracts.checkpoint_settings import read_settings
from vlm_demo.contracts.engine import Capabilities, Event, Request
from vlm_demo.errors import VlmDemoError
from vlm_demo.evaluation import badges, head_weights, heatmap_benchmark, items, select_method
from vlm_demo.explain import methods

GRID = (4, 8)
SIZE = (80, 40)  # patches of 10 pixels


class Planted:
    """Head (0, 1) attends to the thing, all others to the corner; the word's probability is 0.9 while the thing can be
    seen, and 0.1 without it. The phrase names the patch of the thing: "p7" is patch 7."""

    capabilities = Capabilities(writes=True, explains=True, scores=False, quantizes=False, logprobs=True)

    def __init__(self) -> None:
        self.masks: list[np.ndarray] = []

    def explain(self, request: Request, text: str) -> Answer:
        result = answer(text)
        rows = np.full((1, 2, 2, 32), 0.001, np.float16)
        rows[..., 31] = 0.1
        rows[0, 0, 1, 31] = 0.001
        rows[0, 0, 1, int(text[1:])] = 0.1
        trace = replace(result.trace, image=rows, counts=(32,), settings=HeatmapSettings())
        return replace(result, views=(view(SIZE, GRID),), trace=trace)

    def cells(self, answer: Answer, wanted: MapRequest) -> np.ndarray:
        return methods.RECORDED.cells(answer, wanted)

    def heatmap_methods(self, answer: Answer) -> dict[str, str | None]:
        return methods.offered(answer)

    def likelihoods(self, answer: Answer, masks: np.ndarray) -> np.ndarray:
        self.masks.append(masks)
        return np.log(np.where(masks[:, [int(answer.text[1:])]], 0.1, 0.9))


def folder_with(path: Path, patches: list[int], masks: bool = False) -> tuple[Path, list[items.Item]]:
    Image.new("RGB", SIZE, "white").save(path / "a.png")
    lines = []
    for i, patch in enumerate(patches):
        row, column = divmod(patch, GRID[1])
        box = [10 * column, 10 * row, 10 * column + 10, 10 * row + 10]
        line = {"image": "a.png", "question": "What?", "phrase": f"p{patch}", "boxes": [box]}
        if masks:
            mask = Image.new("L", SIZE, 0)
            mask.paste(255, (box[0], box[1], box[2], box[3] + 10))
            mask.save(path / f"m{i}.png")
            line["mask"] = f"m{i}.png"
        lines.append(json.dumps(line))
    (path / "items.jsonl").write_text("\n".join(lines))
    return path, items.read(path)[0]


def test_methods_and_baselines_over_the_same_items(tmp_path: Path) -> None:
    folder, pool = folder_with(tmp_path, [3, 20])
    engine = Planted()
    found = heatmap_benchmark.compare(engine, folder, pool, names=["raw", "mean", "last", "occlusion"], progress=False)
    assert list(found.figures) == ["raw", "mean", "last", "centre", "chance"]
    assert found.default == "mean" and "needs the model" in found.unavailable["occlusion"]
    figures = found.as_dict()
    assert figures["methods"]["last"]["pointing"]["accuracy"] == 0 and figures["pointing"]["n"] == 2
    assert figures["baselines"]["centre"]["pointing"]["accuracy"] == 0.5  # patch 20 begins in the middle
    assert figures["baselines"]["chance"]["pointing"]["accuracy"] == pytest.approx(1 / 32)
    assert figures["baselines"]["chance"]["seconds_a_word"] is None
    assert len(engine.masks) == 2 and len(engine.masks[0]) == 2 + 5 * 2 * heatmap_benchmark.STEPS
    table = found.table()
    assert "mean *" in table and "0.0% (0.0% to 65.8%)" in table and "occlusion:" in table
    json.dumps(figures)


def test_a_data_set_with_questions_among_its_boxes_is_measured_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NLVR's drawn shapes are kept: RGBA, one thing in several boxes, and questions that nothing is boxed for."""
    drawn = Image.new("RGBA", SIZE, (200, 200, 200, 255))
    corner, above = (70, 30, 80, 40), (30, 0, 40, 10)
    for box in (corner, above):
        drawn.paste((0, 0, 0, 255), box)
    (tmp_path / "img").mkdir()
    drawn.save(tmp_path / "img" / "0.png")
    count = {"question": "How many black squares are there?", "answer": "2", "kind": "count"}
    exist = {"question": "Is there a blue circle?", "answer": "no", "kind": "exist"}
    both, one = (
        {"question": "What is in the image?", "answer": phrase, "kind": "pointing", "phrase": phrase, "boxes": boxes}
        for phrase, boxes in (("p31", [above, corner]), ("p3", [above]))
    )
    lines = [json.dumps({"image": "img/0.png", "metric": "exact", **line}) for line in (count, both, exist, one)]
    (tmp_path / "items.jsonl").write_text("\n".join(lines))
    engine = Planted()
    engine.precision = "bf16"
    monkeypatch.setattr(options, "load", lambda _: engine)
    out = tmp_path / "figures.json"
    assert main(["evaluate", str(tmp_path), "--pointing", "--method", "mean", "--json", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert figures["skipped"] == [] and figures["methods"]["mean"]["pointing"]["n"] == 2
    assert figures["methods"]["mean"]["pointing"]["accuracy"] == 0.5  # most heads attend to the corner
    assert figures["baselines"]["chance"]["pointing"]["accuracy"] == pytest.approx((200 + 100) / 2 / 3200)


def test_insertion_and_deletion_by_hand(tmp_path: Path) -> None:
    folder, pool = folder_with(tmp_path, [3])
    best = HeatmapSettings("heads", heads=((0, 1),))
    figures = heatmap_benchmark.compare(
        Planted(), folder, pool, names=["heads"], settings=best, progress=False
    ).figures["heads"]
    # The thing is the first patch to go and to come; the first of seven steps changes 1/64 of the picture.
    assert figures.deletions == [pytest.approx(0.1 + 0.8 / 64 / 2)]
    assert figures.insertions == [pytest.approx(0.9 - 0.8 / 64 / 2)]
    assert figures.hits == [1.0] and figures.ious[0] > 0.3


def test_the_overlap_is_with_the_mask_where_there_is_one(tmp_path: Path) -> None:
    best = HeatmapSettings("heads", heads=((0, 1),))
    for name in ("boxes", "masks"):
        (tmp_path / name).mkdir()
    overlaps = [
        heatmap_benchmark.compare(
            Planted(),
            *folder_with(tmp_path / name, [11], name == "masks"),
            names=["heads"],
            settings=best,
            progress=False,
        )
        .figures["heads"]
        .ious[0]
        for name in ("boxes", "masks")
    ]
    assert overlaps[0] != overlaps[1] and min(overlaps) > 0.2
    Image.new("L", (3, 3)).save(tmp_path / "masks" / "m0.png")
    folder, pool = tmp_path / "masks", items.read(tmp_path / "masks")[0]
    with pytest.raises(VlmDemoError, match="not of its picture's size"):
        heatmap_benchmark.compare(Planted(), folder, pool, progress=False)


def test_an_unknown_method_and_a_broken_picture(tmp_path: Path) -> None:
    folder, pool = folder_with(tmp_path, [3, 4])
    with pytest.raises(VlmDemoError, match="choose all or of raw, mean"):
        heatmap_benchmark.compare(Planted(), folder, pool, names=["wish"], progress=False)
    comparison = heatmap_benchmark.compare(
        Planted(), folder, [replace(pool[0], image="b.png"), pool[1]], progress=False
    )
    assert [one.image for one in comparison.skipped] == ["b.png"] and len(comparison.figures["mean"].hits) == 1


def test_the_best_head_is_chosen_on_one_half_and_scored_on_the_other(tmp_path: Path) -> None:
    folder, pool = folder_with(tmp_path, [3, 12, 7, 18, 20])
    settings, found = select_method.choose(Planted(), folder, pool, progress=False)
    assert settings.method == "heads" and settings.heads == ((0, 1),)
    assert settings.scores["heads"] == 1 and settings.scores["last"] == 0 and settings.scored == 2
    assert found.default == "heads" and "localised" in settings.scores and "chance" not in settings.scores
    with pytest.raises(VlmDemoError, match="too few"):
        select_method.choose(Planted(), folder, pool[:3], progress=False)


def test_heads_that_point_only_together_are_weighted(tmp_path: Path) -> None:
    """Two heads attend to the thing and to one other patch, which differs; no single one and no mean can do it."""
    folder, pool = folder_with(tmp_path, [3, 12, 7, 18, 20, 9, 14, 26, 5, 22, 11, 17])

    class Together(Planted):
        def explain(self, *args: Any, **options: Any) -> Any:
            result = super().explain(*args, **options)
            rows = np.full((1, 2, 2, 32), 0.001, np.float16)
            thing = int(result.text[1:])
            for head, other_patch in ((0, 30), (1, 1)):
                rows[0, 1, head, [thing, other_patch]] = 0.1, 0.25
            rows[0, 0, :, 31] = 0.5
            return replace(result, trace=replace(result.trace, image=rows))

    settings, found = select_method.choose(Together(), folder, pool, progress=False)
    assert settings.method == found.default == "weighted" and settings.scores["weighted"] == 1
    assert settings.scores["heads"] < 1 and settings.scores["mean"] < 1
    weights = np.array(settings.weights)
    assert weights.shape == (2, 2) and np.abs(weights).sum() == pytest.approx(1, abs=1e-3) and (weights[1] > 0.3).all()


def test_each_kind_is_halved_by_itself_and_counts_alike() -> None:
    pool = [items.Item(i, "a.png", "?", ("a",), "asked" if i % 2 else "pointing", "exact", "a") for i in range(8)]
    first, second = select_method.halves(pool)
    assert [item.line for item in first] == [0, 1, 4, 5] and [item.line for item in second] == [2, 3, 6, 7]
    assert select_method._mean(pool[:3], [(True, 0.5), (False, 0.0), (True, 0.1)]) == pytest.approx((0.5, 0.15))


def test_how_much_of_a_patch_a_thing_covers() -> None:
    covered = head_weights.cover(view(SIZE, GRID), [(5, 0, 20, 10), (0, 0, 8, 5)])
    assert covered[:3].tolist() == [0.5, 1, 0] and not covered[3:].any()


def test_a_head_that_looks_beside_things_counts_against_what_it_looks_at() -> None:
    rng, things = np.random.default_rng(3), np.arange(60) % 16
    covers = np.eye(16)[things]
    beside = np.eye(16)[(things + 1 + rng.integers(15, size=60)) % 16]
    logs = rng.random((60, 4, 5, 16))  # most heads look anywhere
    logs[:, 0, 1] += covers + beside
    logs[:, 0, 2] += 2 * beside
    weights = np.array(head_weights.fit(logs, covers, np.ones((60, 16), bool), ["pointing"] * 60))
    assert weights.argmax() == 1 and weights.argmin() == 2 and weights[0, 2] < 0
    assert np.abs(weights).sum() == pytest.approx(1, abs=1e-3)


def labelled(drop: float, right: bool, visible: bool = True) -> badges.LabelledAnswer:
    return badges.LabelledAnswer(Evidence(0.5, 0.1, drop, 0.5), right, visible)


def test_badges_are_counted_by_their_answers() -> None:
    answers = [replace(labelled(0.9, True), kind="colour")] * 8 + [replace(labelled(0.8, False), kind="colour")] * 2
    answers += [replace(labelled(0.1, False), kind="count")] * 3 + [replace(labelled(0.1, True), kind="count")]
    from_text = Evidence(0, 0, 0, 0.9, read=1.0, text=0.9)
    answers += [
        badges.LabelledAnswer(from_text, True, True, "total"),
        badges.LabelledAnswer(None, True, False, "total, absent"),
    ]
    same = Evidence(0, 0, 0, 0.9, blank=0.0)
    answers += [
        badges.LabelledAnswer(same, False, True, "chat"),
        badges.LabelledAnswer(same, False, True, "chat", none=True),
    ]
    found = badges.judge(answers, None)
    assert {level: (score.right, score.n) for level, score in found.levels.items()} == {
        "grounded": (8, 10),
        "read": (1, 1),
        "weak": (1, 5),
        "not visible": (0, 1),
        "not about the picture": (0, 1),
    }
    assert found.gap == pytest.approx(9 / 11 - 1 / 7) and found.unknown == 1
    assert "68 points" in found.table() and "not calibrated" in found.table()
    assert sum(n for _, _, n in found.bins()) == 17
    answers = json.loads(json.dumps(found.as_dict()))
    assert answers["kinds"]["count"] == {
        "green_of_right": {"n": 1, "share": 0.0, "low": 0.0, "high": pytest.approx(0.793, abs=1e-3)},
        "right_of_green": {"n": 0, "share": None, "low": None, "high": None},
    }
    assert answers["green"]["green_of_right"]["share"] == 0.9 and answers["green"]["right_of_green"]["n"] == 11
    assert "9 of 10: 90.0% (59.6% to 98.2%)" in found.table() and "9 of 11: 81.8%" in found.table()


def test_each_kind_is_halved_by_picture_and_not_by_place() -> None:
    answers = []
    for number in range(200):  # yes and no by turns, two questions a picture
        for kind in ("there", "count"):
            answers.append(replace(labelled(0.5, number % 2 == 0), kind=kind, image=f"img/{number // 2}.png"))
    first, second = badges.parts(answers, 2)
    assert len(first) + len(second) == 400 and 190 < len(first) < 210
    assert not {one.image for one in first} & {one.image for one in second}
    for half in (first, second):
        for kind in ("there", "count"):
            of_kind = [one for one in half if one.kind == kind]
            assert 90 < len(of_kind) < 110 and sum(one.right for one in of_kind) * 2 == len(of_kind)
    assert badges.parts(answers, 2) == [first, second]


def test_a_fit_brings_scores_to_accuracies(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(600):
        drop = float(rng.random())
        answers.append(labelled(drop, bool(rng.random() < 1 / (1 + np.exp(4 - 8 * drop)))))
    rough, fitted = badges.judge(answers[1::2], None), badges.judge(answers[1::2], badges.calibrate(answers[::2]))
    assert fitted.error < 0.06 and fitted.gap > 0.65 and rough.error > 0.12
    fitted.draw(tmp_path / "curve.png")
    assert Image.open(tmp_path / "curve.png").width > 400
    with pytest.raises(VlmDemoError, match="No answer has evidence"):
        badges.calibrate([badges.LabelledAnswer(None, True, True)])


def test_no_answer_is_judged_by_a_fit_that_knew_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What falls away tells the right answers in one half and the wrong ones in the other, so that a fit on the other
    half is wrong about every answer."""
    monkeypatch.setattr(badges, "parts", partial(badges.parts, count=2))
    answers = [replace(labelled(0.9 * (n % 2), True), image=f"{n // 2}.png") for n in range(200)]
    first = {one.image for one in badges.parts(answers)[0]}
    answers = [replace(one, right=(one.evidence.whole > 0.5) == (one.image in first)) for one in answers]
    found = badges.cross_judge(answers)
    assert len(found.labels) == 200 and found.calibration.fitted == 200
    assert all((score > 0.5) != right for score, right in zip(found.scores, found.labels, strict=True))


def test_answers_to_what_cannot_be_seen_are_never_right_and_visible(tmp_path: Path) -> None:
    Image.new("RGB", SIZE, "white").save(tmp_path / "a.png")
    lines = [
        {"image": "a.png", "question": q, "answer": a, "kind": "colour", "metric": "exact"}
        for q, a in (("What colour?", "red"), ("Which shape?", "unknown"), ("Say unknown", "unknown"))
    ]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))

    class UnknownOrRed(Planted):
        def stream(self, request: Request) -> Iterator[Event]:
            yield answer("unknown" if "unknown" in request.question else "red")

        def evidence(self, _answer: Any) -> Evidence:
            return Evidence(0.5, 0.1, 0.9, 0.9)

    collected = badges.collect(UnknownOrRed(), tmp_path, items.read(tmp_path)[0], [], progress=False)
    assert [
        (labelled_answer.evidence is not None, labelled_answer.right, labelled_answer.visible)
        for labelled_answer in collected
    ] == [
        (True, True, True),
        (True, False, False),
        (False, True, False),
    ]


def test_the_command_fits_on_all_answers_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "items").mkdir()
    lines = []
    for n in range(60):
        Image.new("RGB", SIZE, "white").save(tmp_path / "items" / f"{n}.png")
        wanted = "red" if n % 3 else "blue"
        lines.append({"image": f"{n}.png", "question": "What?", "answer": wanted, "kind": "colour", "metric": "exact"})
    (tmp_path / "items" / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))

    class Red(Planted):
        def stream(self, request: Request) -> Iterator[Event]:
            yield answer("red")

        def evidence(self, _answer: Any) -> Evidence:
            self.asked = getattr(self, "asked", -1) + 1
            return Evidence(0.9, 0.0, 0.9, 0.9) if self.asked % 3 else Evidence(0.0, 0.0, 0.0, 0.3)

    engine = Red()
    engine.settings_folder, engine.precision = tmp_path, "bf16"
    monkeypatch.setattr(options, "load", lambda _: engine)
    assert main(["evaluate", str(tmp_path / "items"), "--grounding", "--fit"]) == 0
    assert "40 of 40: 100.0%" in capsys.readouterr().out
    assert json.loads((tmp_path / "vlm_demo.json").read_text())["grounding"]["fitted"] == 60


def test_the_command_measures_chooses_and_keeps_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "items").mkdir()
    folder, _ = folder_with(tmp_path / "items", [3, 12, 7, 18])
    engine = Planted()
    engine.settings_folder, engine.precision = tmp_path, "bf16"
    (tmp_path / "vlm_demo.json").write_text('{"heatmap": {"method": "last"}, "grounding_like": 1}')
    monkeypatch.setattr(options, "load", lambda _: engine)
    out = tmp_path / "figures.json"
    arguments = ["evaluate", str(folder), "--pointing", "--method", "mean", "heads", "--choose", "--json", str(out)]
    assert main(arguments) == 0
    assert "heads *" in capsys.readouterr().out
    assert json.loads(out.read_text())["methods"]["heads"]["pointing"]["accuracy"] == 1
    settings = read_settings(tmp_path)
    assert settings.method == "heads" and settings.heads == ((0, 1),) and settings.scores == {"mean": 0.0, "heads": 1.0}
    assert json.loads((tmp_path / "vlm_demo.json").read_text())["grounding_like"] == 1
    assert main(["evaluate", str(folder), "--pointing", "--limit", "1"]) == 0
    for wrong in (["--method", "all"], ["--pointing", "--answers", str(out)], ["--grounding", "--answers", str(out)]):
        with pytest.raises(SystemExit):
            main(["evaluate", str(folder), *wrong])
