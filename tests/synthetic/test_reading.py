"""Reading: imitated mistakes are few and of the right kind, and a harvest gives back the pictures it was made of."""

import json
from types import SimpleNamespace

import numpy as np

from vlm_demo.stages import ocr
from vlm_demo.synthetic import areas
from vlm_demo.synthetic.documents import draw_document
from vlm_demo.synthetic.reading import Cache, harvest, imitate_ocr

PAGE = [f"Article number {n} costs {n}.{n}5 today, TOTAL: {n * 7},90" for n in range(10, 40)]


def test_the_same_seed_reads_the_same():
    for seed in range(5):
        assert imitate_ocr(PAGE, np.random.default_rng(seed)) == imitate_ocr(PAGE, np.random.default_rng(seed))


def test_some_pages_are_flawless_and_most_lines_are_right():
    pages = [imitate_ocr(PAGE, np.random.default_rng(seed)) for seed in range(200)]
    assert 0.12 < np.mean([page == PAGE for page in pages]) < 0.45
    assert 0.55 < np.mean([line in page for page in pages for line in PAGE]) < 0.9


def test_the_mistakes_are_those_of_tesseract():
    lines = [line for seed in range(300) for line in imitate_ocr(PAGE, np.random.default_rng(seed))]
    wrong = [line for line in lines if line not in PAGE]
    text = "\n".join(wrong)
    assert any("costs 1" in line and "1.15" not in line and "115" in line for line in wrong)  # a lost point
    assert "|" in text and "~" in text and "T0TAL" in text  # strays and confusions
    assert any(line in whole and line != whole for line in wrong for whole in PAGE)  # a part alone
    assert all(line == line.strip() and "\n" not in line and line for line in lines)


def test_rules_of_dashes_are_mostly_not_seen():
    kept = [len(imitate_ocr(["Tea 1.00", "-" * 30], np.random.default_rng(seed))) > 1 for seed in range(200)]
    assert 0.05 < np.mean(kept) < 0.5


def test_a_harvest_gives_its_pictures_back_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    seen = []

    def read(image):
        seen.append(np.asarray(image))
        return SimpleNamespace(text=f"picture {len(seen)}\nof {image.width}")

    monkeypatch.setattr(ocr, "read", read)
    monkeypatch.setitem(areas.AREAS, "documents", SimpleNamespace(draw=draw_document))
    assert harvest(tmp_path, "documents", 3, 5) == 3
    assert harvest(tmp_path, "documents", 4, 5) == 1
    with (tmp_path / "documents.jsonl").open("a") as handle:
        handle.write('{"seed": [5, 9], "li')  # still being written
    cache = Cache(tmp_path, "documents")
    assert len(cache) == 4
    for seed in range(8):
        picture, lines = cache.pick(np.random.default_rng(seed))
        number = int(lines[0].split()[1])
        assert np.array_equal(np.asarray(picture.image), seen[number - 1])
        assert lines[1] == f"of {picture.image.width}"
    first = json.loads((tmp_path / "documents.jsonl").read_text().splitlines()[0])
    assert first["seed"] == [5, 0]


def test_without_a_harvest_the_cache_is_empty(tmp_path):
    assert len(Cache(tmp_path, "documents")) == 0
