"""The written folder is one that the evaluation reads, and asks what the pictures allow."""

import json

import pytest
from PIL import Image

from vlm_demo.evaluation.items import read
from vlm_demo.training.worlds import areas
from vlm_demo.training.worlds.held_out import AREAS, export, export_world

PER_KIND = 8


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    counts = export(folder, "scenes", PER_KIND, 5)
    return folder, counts, [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]


def test_every_area_can_be_written_and_pointed_at():
    assert set(AREAS) == {*areas.AREAS, "pointing", "pope"}
    with pytest.raises(ValueError, match="unknown area 'moon'"):
        export(None, "moon", 1, 0)


def test_the_evaluation_reads_every_item_and_its_picture(scenes):
    folder, counts, lines = scenes
    items, skipped = read(folder)
    assert not skipped and len(items) == len(lines) == sum(counts.values())
    assert max(counts.values()) == PER_KIND and len(counts) > 25
    for name in {item.image for item in items}:
        with Image.open(folder / name) as image:
            assert image.mode == "RGB"


def test_what_is_absent_is_asked_with_the_rule_and_answered_unknown(scenes):
    _, _, lines = scenes
    absent = [line for line in lines if line["kind"].endswith(", absent")]
    assert len(absent) > 10
    assert all(line["answer"] == "unknown" and line["evidence_only"] for line in absent)
    others = [line for line in lines if not line["kind"].endswith(", absent")]
    assert all(line["answer"] != "unknown" for line in others)
    assert 0.3 < sum(line["evidence_only"] for line in others) / len(others) < 0.75


def test_a_follow_up_carries_the_turn_before_it(scenes):
    folder, _, lines = scenes
    follow_ups = [line for line in lines if "before" in line]
    assert follow_ups
    for line in follow_ups:
        (turn,) = line["before"]
        assert ", follow-up" in line["kind"] and turn["question"] != line["question"] and turn["answer"]
        assert line["evidence_only"] or turn["answer"] != "unknown"
    assert {item.before for item in read(folder)[0] if item.before} == {
        ((line["before"][0]["question"], line["before"][0]["answer"]),) for line in follow_ups
    }


def test_the_same_seed_writes_the_same_items(tmp_path):
    for name in ("one", "two"):
        export(tmp_path / name, "pointing", 4, 3)
    one, two = ((tmp_path / name / "items.jsonl").read_text() for name in ("one", "two"))
    assert one == two and len(one.splitlines()) == 4


def test_pope_asks_as_often_about_what_is_there_as_about_what_is_not(tmp_path):
    counts = export(tmp_path, "pope", PER_KIND, 5)
    lines = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]
    assert set(counts) == {"pope random", "pope popular", "pope adversarial"} and set(counts.values()) == {PER_KIND}
    for kind in counts:
        assert [line["answer"] for line in lines if line["kind"] == kind].count("yes") == PER_KIND / 2


@pytest.mark.slow
def test_the_world_is_all_areas_in_one_list(tmp_path):
    counts = export_world(tmp_path, 1, 5)
    items, skipped = read(tmp_path)
    assert not skipped and len(items) == sum(counts.values())
    assert {item.image.split("/")[0] for item in items} == set(AREAS) - {"pointing", "pope"}
    assert all((tmp_path / item.image).exists() for item in items)
