"""The command prints what pictures of given sizes cost the catalog's models, and loads none of them."""

from __future__ import annotations

import json

import pytest

from vlm_demo.cli.main import main
from vlm_demo.engines.picture_costs import costs
from vlm_demo.models.catalog import listed


def sizes_of(capsys: pytest.CaptureFixture[str], *sizes: str) -> list[dict]:
    assert main(["catalogue", *sizes, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["sizes"]


def test_json_holds_tokens_context_and_memory(capsys) -> None:
    """LLaVA-1.5 7B caches 32 layers of 32 heads of 128 numbers, twice, in 2 bytes: 524,288 bytes a token."""
    (size,) = sizes_of(capsys, "1280x960")
    assert (size["width"], size["height"]) == (1280, 960)
    llava = next(model for model in size["models"] if model["id"] == "llava-hf/llava-1.5-7b-hf")
    assert llava["image_tokens"] == 576 and llava["of_context"] == 576 / 4096
    assert llava["cache_bytes"] == 576 * 524_288
    weights = next(entry for entry in listed() if entry.id == llava["id"]).memory_bytes
    assert llava["memory_bytes"] == weights["bf16"] + llava["cache_bytes"]
    assert llava["memory_bytes_4bit"] == weights["4bit"] + llava["cache_bytes"]


def test_the_table_has_a_row_a_model_and_size(capsys) -> None:
    assert main(["catalogue", "640x480", "3000x10"]) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    assert len(first.splitlines()) == len(second.splitlines()) == len(costs((640, 480))) + 2
    assert "640 × 480" in first and "too elongated" in second and "too elongated" not in first
    assert len({len(line.rstrip()) for line in first.splitlines()[1:]}) == 1


def test_a_picture_takes_one_position_in_a_cross_attention_model() -> None:
    cross_attending = [cost for cost in costs((640, 480)) if cost.cross_attention]
    assert {cost.id for cost in cross_attending} == {"idefics", "meta-llama/Llama-3.2-11B-Vision-Instruct"}
    assert all(cost.of_context == 1 / cost.context and (cost.image_tokens or 0) > 1 for cost in cross_attending)


def test_a_huge_picture_costs_what_it_does_after_it_was_made_smaller() -> None:
    """14,000 × 1,000 is 14 million pixels, which are halved in each direction before a model gets them."""
    by_size = [[cost.image_tokens for cost in costs(size)] for size in ((14_000, 1000), (7000, 500))]
    assert by_size[0] == by_size[1]
    assert costs((12_000, 1000)) != costs((6000, 500))


@pytest.mark.parametrize("size", ["12", "0x5", "5x0", "axb", "1000000x3", "3x3x3"])
def test_what_is_no_size_is_refused(size: str, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["catalogue", size])
    assert "WIDTHxHEIGHT" in capsys.readouterr().err
