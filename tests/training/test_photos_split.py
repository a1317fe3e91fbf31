"""Which photographs are held out: settled by name, and never to change."""

import subprocess

import pytest

from vlm_demo.errors import VlmDemoError
from vlm_demo.training.photos_split import PERCENT, held_out


@pytest.mark.parametrize("folder", PERCENT)
def test_about_the_stated_share_of_a_folder_is_held_out(folder: str) -> None:
    share = sum(held_out(folder, f"img/{i:05}.jpg") for i in range(4000)) / 40
    assert abs(share - PERCENT[folder]) < 1.5


def test_the_rule_is_the_hash_of_folder_and_name() -> None:
    names = [f"img/{i:05}.jpg" for i in range(40)]
    digests = [
        subprocess.run(["sha256sum"], input=f"voc2007/{name}".encode(), capture_output=True).stdout for name in names
    ]
    assert [held_out("voc2007", name) for name in names] == [int(digest[:8], 16) % 100 < 8 for digest in digests]


def test_the_same_pictures_are_held_out_for_ever() -> None:
    found = [i for i in range(60) if held_out("coco_val2017_people", f"img/{i:05}.avif")]
    assert found == [8, 26, 27, 38, 52]


def test_a_folder_without_a_share_is_an_error() -> None:
    with pytest.raises(VlmDemoError, match="holiday"):
        held_out("holiday", "img/00000.jpg")
