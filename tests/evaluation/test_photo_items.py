"""Items from photographs: true to the annotations, of held-out pictures alone, and the same for a seed."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlm_demo.cli.main import main
from vlm_demo.errors import VlmDemoError
from vlm_demo.evaluation import items
from vlm_demo.evaluation.photo_items import KINDS, SORTS, make
from vlm_demo.evaluation.photo_names import is_there, plural, readable
from vlm_demo.training.photos_split import held_out

THINGS = ("person", "dog", "car", "chair", "dining table", "skis", "zebra", "kite", "bus", "cup")
BIG = [0.1, 0.1, 0.3, 0.3]


def _facts(folder: str, i: int) -> dict[str, Any]:
    things = [THINGS[k] for k in range(len(THINGS)) if (i >> (k % 4)) % (k + 2) == 0]
    boxes = [[thing, *BIG] for thing in things for _ in range(1 + (i + len(thing)) % 7)]
    speck = [["cup", 0.5, 0.5, 0.01, 0.01]] if i % 3 == 0 else []
    return {
        "flickr8k": {"captions": [f"Picture {i}.", "A dog."]},
        "coco_val2017_people": {
            "captions": [f"People {i}."] + ["A kite on a table."] * (i % 2),
            "boxes": boxes + speck,
            "qa": [["What colour is it?", "red"], ["True or false: It is.", "true"]],
        },
        "coco_train": {"qa": [["Is it?", "no"]], "labels": {"things": ["dog"]}},
        "voc2007": {"boxes": [["pottedplant", *BIG]] * (1 + i % 8) + [["cow", 0, 0, 0.01, 0.01]]},
        "stanford40": {"labels": {"action": ("riding_a_horse", "texting message")[i % 2]}},
        "caltech101": {"labels": {"object": ("water lilly", "car side")[i % 2]}},
        "grocery": {"labels": {"item": "Granny Smith", "kind": "Apple"}},
        "clothing": {"labels": {"garment": "outwear"}},
        "pacs": {"labels": {"style": "sketch", "object": "dog"}},
        "chartqa": {"qa": [["How much?", "4.2"]]},
    }[folder]


FOLDERS = (
    "flickr8k coco_val2017_people coco_train voc2007 stanford40 caltech101 grocery clothing pacs chartqa"
).split()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for folder in FOLDERS:
        (root / folder / "img").mkdir(parents=True)
        lines = []
        for i in range(240):
            image = f"img/{i:05}.png"
            if held_out(folder, image):  # the others can't even be opened
                Image.new("RGB", (8, 8), (i, 0, 0)).save(root / folder / image)
            lines.append(json.dumps({"image": image, **_facts(folder, i)}))
        (root / folder / "annotations.jsonl").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def items_by_kind(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("items")
    counts = make(photos, folder, 30, seed=3)
    found = defaultdict(list)
    for line in (folder / "items.jsonl").read_text().splitlines():
        item = json.loads(line)
        assert (folder / item["image"]).is_file()
        found[item["kind"]].append(item)
    assert counts == {kind: len(of_kind) for kind, of_kind in found.items()}
    items_read, skipped = items.read(folder)
    assert not skipped and len(items_read) == sum(counts.values())
    return found


def _source(item: dict[str, Any]) -> tuple[str, int]:
    folder, _, number = Path(item["image"]).stem.rpartition("-")
    return folder, int(number)


def test_every_kind_is_made_of_held_out_pictures_alone(items_by_kind: dict[str, list[dict[str, Any]]]) -> None:
    assert set(items_by_kind) == set(KINDS)
    for item in (one for of_kind in items_by_kind.values() for one in of_kind):
        folder, number = _source(item)
        assert held_out(folder, f"img/{number:05}.png")


def test_the_same_seed_makes_the_same_items_and_another_one_others(photos: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        make(photos, tmp_path / name, 10, seed)
    one, two, three = ((tmp_path / name / "items.jsonl").read_text() for name in ("one", "two", "three"))
    assert one == two != three


def test_presence_is_balanced_and_true(items_by_kind: dict[str, list[dict[str, Any]]]) -> None:
    for sort in SORTS:
        questions = items_by_kind[f"presence-{sort}"]
        assert Counter(item["answer"] for item in questions) == {"yes": 15, "no": 15}
        assert len({(item["image"], item["question"]) for item in questions}) == len(questions)
        for item in questions:
            facts = _facts(*_source(item))
            areas: dict[str, float] = {}
            for label, _x, _y, width, height in facts["boxes"]:
                areas[is_there(label)] = max(areas.get(is_there(label), 0), width * height)
            if item["answer"] == "yes":
                assert areas[item["question"]] >= 0.005
            else:
                assert item["question"] not in areas
                if "table" in str(facts["captions"]):  # boxed or not, it was seen
                    assert "kite" not in item["question"] and "table" not in item["question"]
    yes = [[item for item in items_by_kind[f"presence-{sort}"] if item["answer"] == "yes"] for sort in SORTS]
    questions = [[(item["image"], item["question"]) for item in of_sort] for of_sort in yes]
    assert questions[0] == questions[1] == questions[2]


def test_an_adversarial_thing_often_occurs_with_what_is_there_and_the_usual_is_not_asked(tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "coco_val2017_people"
    (folder / "img").mkdir(parents=True)
    groups = [["dog", "a1", "a2", "a3", "a4", "a5", "a6"], ["cat", "b1", "b2", "b3", "b4", "b5", "b6"]]
    lines = []
    for i in range(300):
        alone, *rest = groups[i % 2]
        image, things = f"img/{i:05}.png", ["person", alone] if i % 3 == 0 else ["person", alone, *rest]
        Image.new("RGB", (8, 8)).save(folder / image)
        lines.append(json.dumps({"image": image, "boxes": [[thing, *BIG] for thing in things]}))
    (folder / "annotations.jsonl").write_text("\n".join(lines))
    kinds = ["presence-random", "presence-adversarial"]
    make(tmp_path / "photos", tmp_path / "items", 1000, 0, kinds)
    plausible: dict[str, list[bool]] = {kind: [] for kind in kinds}
    for line in (tmp_path / "items" / "items.jsonl").read_text().splitlines():
        item = json.loads(line)
        i = _source(item)[1]
        assert "person" not in item["question"]  # in every picture: yes needs no look
        if item["answer"] == "no" and i % 3 == 0:
            plausible[item["kind"]].append(f" {'ab'[i % 2]}" in item["question"].removeprefix("Is there a"))
    adversarial, random = plausible["presence-adversarial"], plausible["presence-random"]
    assert adversarial and all(adversarial) and not all(random)


def test_counts_are_those_of_the_boxes_and_all_things_can_be_seen(
    items_by_kind: dict[str, list[dict[str, Any]]],
) -> None:
    for item in items_by_kind["count"]:
        boxes = _facts(*_source(item))["boxes"]
        name = next(readable(label) for label, *_ in boxes if plural(readable(label)) in item["question"])
        assert int(item["answer"]) == sum(readable(label) == name for label, *_ in boxes) <= 6
        assert name not in ("cow", "skis") and (name, _source(item)[0]) != ("person", "coco_val2017_people")
    numbers = Counter(item["answer"] for item in items_by_kind["count"])
    assert set(numbers) == set("123456") and max(numbers.values()) <= 2 * min(numbers.values()) + 3


def test_labels_become_words_with_their_synonyms(items_by_kind: dict[str, list[dict[str, Any]]]) -> None:
    names = {item["answer"]: item for item in items_by_kind["name"]}
    assert set(names) == {"water lily", "car", "apple"} and names["apple"]["accepted"] == ["granny smith"]
    actions = {item["answer"]: item for item in items_by_kind["action"]}
    assert set(actions) == {"riding a horse", "texting a message"}
    assert "texting" in actions["texting a message"]["accepted"]
    assert items_by_kind["garment"][0]["answer"] == "jacket" and items_by_kind["style"][0]["metric"] == "vqa"
    assert {item["question"] for item in items_by_kind["vqa"]} == {"Is it?", "What colour is it?"}
    assert all(item["ocr"] and item["metric"] == "relaxed" for item in items_by_kind["chartqa"])
    assert all(item["captions"][0].startswith("Picture") for item in items_by_kind["captions-flickr"])


def test_questions_are_english() -> None:
    assert is_there("umbrella") == "Is there an umbrella in the picture?"
    assert is_there("skis") == "Are there any skis in the picture?"
    assert is_there("broccoli") == "Is there any broccoli in the picture?"
    assert is_there("TV") == "Is there a TV in the picture?"
    assert (plural("dog"), plural("person"), plural("wine glass")) == ("dogs", "people", "wine glasses")


def test_no_photographs_and_unknown_kinds_are_one_sentence(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(VlmDemoError, match="no folder of photographs"):
        make(tmp_path, tmp_path / "out", 3, 0)
    with pytest.raises(VlmDemoError, match="dances"):
        make(photos, tmp_path / "out", 3, 0, ["dances"])


def test_the_command_makes_a_folder(photos: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = ["draw", str(tmp_path / "out"), "photos-held-out", "--photos", str(photos), "--per-kind", "2"]
    assert main(arguments) == 0
    assert f"{2 * len(KINDS)} items of {len(KINDS)} kinds" in capsys.readouterr().out
    assert main([*arguments, "--kinds", "style", "pointing-coco"]) == 0
    lines = (tmp_path / "out" / "items.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["style"] * 2 + ["pointing-coco"] * 2
    for wrong in (["photos-held-out"], [*arguments[2:], "--kinds", "dances"], ["scenes", "--kinds", "style"]):
        with pytest.raises(SystemExit):
            main(["draw", str(tmp_path / "out"), *wrong])


@pytest.mark.parametrize(("kind", "name"), [("pointing", "voc2007"), ("pointing-coco", "coco_val2017_people")])
def test_pointing_items_hold_the_boxes_of_the_named_thing_in_pixels(kind: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "photos" / name
    (folder / "img").mkdir(parents=True)
    lines = []
    for i in range(60):
        Image.new("RGB", (200, 100)).save(folder / f"img/{i:05}.png")
        boxes = [
            ["dog", 0.1, 0.2, 0.3, 0.4],
            ["dog", 0.5, 0.5, 0.2, 0.2],
            ["sofa", 0, 0, 1, 0.9],
            ["cat", 0, 0, 0.1, 0.1],
        ]
        lines.append(json.dumps({"image": f"img/{i:05}.png", "boxes": boxes}))
    (folder / "annotations.jsonl").write_text("\n".join(lines))
    make(tmp_path / "photos", tmp_path / "items", 100, 0, [kind])
    items = [json.loads(line) for line in (tmp_path / "items" / "items.jsonl").read_text().splitlines()]
    assert all(held_out(name, f"img/{_source(item)[1]:05}.png") for item in items)
    # The couch fills the picture and the cat can hardly be seen.
    assert items and {item["phrase"] for item in items} == {"dog"}
    assert all(item["boxes"] == [[20, 20, 80, 60], [100, 50, 140, 70]] for item in items)
