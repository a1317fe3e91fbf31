"""Retrieval against engines that know everything, nothing, or the pictures alone."""

import json
from types import SimpleNamespace

import pytest
from PIL import Image

from vlm_demo.errors import VlmDemoError
from vlm_demo.evaluation.retrieval import CANDIDATES, read, retrieve
from vlm_demo.training.worlds import areas
from vlm_demo.training.worlds.held_out import export_captions


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "img").mkdir()
    lines = []
    for number in range(CANDIDATES + 3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"img/{number}.png")
        lines.append({"image": f"img/{number}.png", "caption": f"no {number}", "wrong": f"no {number}0", "kind": "x"})
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


class Engine:
    """Prefers the text whose number is the picture's red, by the score ``sure``."""

    def __init__(self, sure, heads):
        self.sure, self.heads = sure, heads

    def score(self, image, texts):
        red = image.getpixel((0, 0))[0]
        scores = [self.sure if text == f"no {red}" else 0.4 for text in texts]
        return SimpleNamespace(similarities=scores, matches=scores if self.heads else None)


def test_one_that_knows_finds_all_and_one_that_does_not_finds_the_first(folder):
    lines = read(folder)
    best = retrieve(Engine(0.9, heads=True), folder, lines, progress=False)
    assert (best.text.n, best.text.right) == (CANDIDATES, CANDIDATES) == (best.image.n, best.image.right)
    assert best.nearer_than_changed.right == best.better.right == CANDIDATES and (best.match.n, best.match.right) == (
        2 * CANDIDATES,
        2 * CANDIDATES,
    )
    blind = retrieve(Engine(0.4, heads=False), folder, lines, progress=False)
    assert blind.text.right == blind.image.right == 1 and blind.nearer_than_changed.right == 0 and not blind.match.n
    assert "matching head" not in blind.table() and "matching head" in best.table()
    assert best.as_dict()["caption of a picture, x"]["accuracy"] == 1


def test_a_caption_that_two_pictures_share_is_right_for_both(folder):
    lines = read(folder)[:2]
    lines[1] |= {"caption": "no 0"}
    found = retrieve(Engine(0.9, heads=False), folder, lines, progress=False)
    assert found.text.right == 2 and found.image.right == 2


def test_broken_files_are_explained_in_a_sentence(tmp_path):
    with pytest.raises(VlmDemoError, match="can't be read"):
        read(tmp_path)
    (tmp_path / "captions.jsonl").write_text('{"image": "a.png"}')
    with pytest.raises(VlmDemoError, match="needs in every line"):
        read(tmp_path)


def test_what_is_drawn_can_be_read_back(tmp_path):
    counts = export_captions(tmp_path, 2, 5)
    lines = read(tmp_path)
    assert set(counts) == set(areas.AREAS) == {line["kind"] for line in lines} and len(lines) == 2 * len(counts)
    assert all(line["caption"] != line["wrong"] and (tmp_path / line["image"]).is_file() for line in lines)
