"""The out-of-distribution fit: with any pipeline on any folder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlm_demo import Pipeline
from vlm_demo.cli.main import main
from vlm_demo.errors import VlmDemoError
from vlm_demo.explain import out_of_distribution as stored
from vlm_demo.training.fit_out_of_distribution import FALSE_POSITIVE_RATE, fit, pictures_in
from vlm_demo.training.mixture import SHARES
from vlm_demo.training.photos_split import held_out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Flat pictures."""
    for i in range(60):
        path = tmp_path / f"photos {i % 2}" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (60, 50), tuple(np.random.default_rng(i).integers(0, 256, 3).tolist())).save(path)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_the_order_follows_the_seed(folder: Path) -> None:
    found = pictures_in([folder], 100, 0)
    assert len(found) == len(set(found)) == 60 and found == pictures_in([folder], 100, 0) != pictures_in(
        [folder], 100, 1
    )
    few = pictures_in([folder], 10, 0)
    assert sorted({path.parent.name for path in few}) == ["photos 0", "photos 1"] and len(set(few)) == 10
    with pytest.raises(VlmDemoError, match="holds 0 pictures"):
        pictures_in([folder / "none"], 10, 0)


def test_the_command_writes_the_fit(
    folder: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path_factory.mktemp("out")
    line = ["train", "world", "--model", str(checkpoint), "--pictures", str(folder), "--count", "60", "--out", str(out)]
    assert main(line) == 0
    printed = capsys.readouterr().out
    inside = float(printed.split("inside: ")[1].split("%")[0])
    assert inside >= 85 and str(out / stored.FILE) in printed
    fitted, pipe = stored.load(out), Pipeline.from_pretrained(checkpoint)
    assert len(fitted.bank) == 42  # seven in ten
    features = pipe.stages().encoder(pipe.view(Image.new("RGB", (60, 50), (10, 90, 200)))).features
    assert fitted.channels == features.shape[-1]
    assert fitted.cosine(stored.pooled(features, fitted.channels)) > fitted.threshold - 0.01


def test_training_folders_give_their_share_of_the_mixture_and_nothing_that_is_held_out(tmp_path: Path) -> None:
    for name, count in (("coco_train", 200), ("caltech101", 200)):
        (tmp_path / name / "img").mkdir(parents=True)
        for i in range(count):
            (tmp_path / name / "img" / f"{i}.jpg").touch()
    chosen = pictures_in([tmp_path], 100, 0)
    assert not any(held_out(path.parent.parent.name, f"img/{path.name}") for path in chosen)
    among = [path.parent.parent.name for path in chosen]
    share = SHARES["coco_train"] / (SHARES["coco_train"] + SHARES["caltech101"])
    assert among.count("coco_train") / 100 == pytest.approx(share, abs=0.02)


def test_the_threshold_is_set_by_pictures_that_are_not_in_the_bank() -> None:
    generator = torch.Generator().manual_seed(0)
    around = torch.randn(400, 6, generator=generator) * 0.2 + torch.tensor([3.0, 0, 0, 1, 0, 0])
    fitted = fit(around[:200], around[200:], 6)
    assert (fitted.cosine(around[200:]) < fitted.threshold).float().mean() == pytest.approx(
        FALSE_POSITIVE_RATE, abs=0.01
    )
    far = torch.tensor([[0.0, 3, 1, 0, 0, 0], [-3, 0, 0, -1, 0, 0]])
    assert (fitted.cosine(far) < fitted.threshold - 0.1).all()
    torch.testing.assert_close(fitted.basis.T @ fitted.basis, torch.eye(6), atol=0.02, rtol=0)
