"""The table of bridges shows what the rows hold, and a dash where a family has no such thing; the sentences under it
claim no more than the paired differences do."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from vlm_demo.engines.shipped_recipes import trained_parameters
from vlm_demo.errors import ModelNotFound
from vlm_demo.evaluation.bridge_comparison import BridgeRow, compare, difference, findings, retrieved, table
from vlm_demo.evaluation.items import Item
from vlm_demo.evaluation.report import Score


def _row(name, **more):
    return BridgeRow(name, "in words", "a-tower", 8_000_000, 100_000, **more)


def _cells(rows):
    heads, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in table(rows).splitlines())
    return [dict(zip(heads, line, strict=True)) for line in lines if len(line) == len(heads)]


def test_times_are_ratios_to_the_first_row_that_answers():
    shown = _cells([_row("clip"), _row("llava", first_token=0.2), _row("idefics", first_token=0.3)])
    assert [line["first token"] for line in shown] == ["–", "1.00×", "1.50×"]


def test_what_was_measured_stands_in_its_column():
    right = {1: True, 2: True, 3: False, 4: True}
    (shown,) = _cells([_row("blip2", kinds={"action": Score(4, 3)}, right=right, image_tokens=49, cider=41.7)])
    assert shown["action"] == shown["all"] == "75%" and shown["CIDEr-D"] == "42" and shown["R@1"] == "–"
    assert shown["trained / all"] == "0.1 / 8.0 M" and shown["image tokens"] == "49" and shown["encoder"] == "a-tower"


def test_a_difference_is_of_the_items_that_both_were_asked():
    one = _row("llava", right={1: True, 2: False, 3: False, 9: True})
    other = _row("llava-vit", right={1: True, 2: True, 3: True, 8: False})
    mean, low, high = difference(one, other)
    assert mean == pytest.approx(2 / 3) and high - mean == pytest.approx(1.96 * np.std([0, 1, 1]) / 3**0.5)
    assert low == pytest.approx(2 * mean - high)
    with pytest.raises(ValueError, match="no item"):
        difference(one, _row("blip2", right={5: True}))


@pytest.mark.parametrize(
    ("flips", "verdict"), [(0, "not clearly different"), (2, "not clearly different"), (60, "worse"), (-60, "better")]
)
def test_a_sentence_claims_what_the_interval_allows(flips, verdict):
    base = {line: line % 2 == 0 for line in range(200)}
    changed = dict(base)
    for line in [line for line, right in base.items() if right == (flips > 0)][: abs(flips)]:
        changed[line] = not base[line]
    (sentence,) = findings([_row("llava", right=base), _row("llava-vit", right=changed), _row("clip")])
    assert sentence.endswith(f"{verdict}.") and f"{-flips / 2:+.0f} points" in sentence


def test_the_numbers_of_a_file_of_weights_are_counted(tmp_path):
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5)}, tmp_path / "trained.safetensors")
    assert trained_parameters(tmp_path / "trained.safetensors") == 17


def test_retrieval_asks_for_the_caption_of_each_picture(tmp_path):
    shades = (10, 120, 240)
    for shade in shades:
        Image.new("L", (8, 8), shade).save(tmp_path / f"{shade}.png")
    items = [
        Item(i, f"{shade}.png", "?", (), "captions", "exact", captions=(f"{shade}",)) for i, shade in enumerate(shades)
    ]

    class Nearest:
        """Finds the bright pictures; takes the darkest one for the middle one."""

        def score(self, image, texts):
            grey = max(np.asarray(image).mean(), 120)
            similarities = [-abs(float(text) - grey) for text in texts]
            return SimpleNamespace(similarities=similarities)

    found = retrieved(Nearest(), tmp_path, items)
    assert (found.n, found.right) == (3, 2)
    assert retrieved(Nearest(), tmp_path, [Item(0, "10.png", "?", ("x",), "k", "exact")]) is None


def test_a_family_of_other_parts_is_not_compared(tmp_path):
    with pytest.raises(ModelNotFound, match="choose among .*llava"):
        compare(tmp_path, [], ["llava", "no-such-bridge"])
