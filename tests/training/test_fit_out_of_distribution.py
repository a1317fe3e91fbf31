"""The reader of what the model was trained on: fitted on any pipeline and any folder of pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_demo import Pipeline
from vlm_demo.cli.main import main
from vlm_demo.errors import VlmDemoError
from vlm_demo.explain import out_of_distribution as stored
from vlm_demo.training.fit_out_of_distribution import pictures_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Flat pictures, unlike any that `strange` draws."""
    for i in range(30):
        path = tmp_path / f"photos {i % 2}" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (60, 50), tuple(np.random.default_rng(i).integers(0, 256, 3).tolist())).save(path)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_the_order_follows_the_seed(folder: Path) -> None:
    found = pictures_in([folder], 100, 0)
    assert len(found) == len(set(found)) == 30 and found == pictures_in([folder], 100, 0) != pictures_in(
        [folder], 100, 1
    )
    assert pictures_in([folder], 10, 0) == found[:10]
    with pytest.raises(VlmDemoError, match="holds 0 pictures"):
        pictures_in([folder / "none"], 10, 0)


def test_the_command_writes_a_reader_that_tells_them_apart(
    folder: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path_factory.mktemp("out")
    line = ["train", "world", "--model", str(checkpoint), "--pictures", str(folder), "--count", "28", "--out", str(out)]
    assert main(line) == 0
    printed = capsys.readouterr().out
    inside = float(printed.split("inside: ")[1].split("%")[0])
    assert inside >= 90 and str(out / stored.FILE) in printed
    reader, pipe = stored.load(out), Pipeline.from_pretrained(checkpoint)
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    flat, noisy = Image.new("RGB", (70, 40), (10, 90, 200)), Image.fromarray(noise)
    scores = [reader.score(pipe.encoder(pipe.view(image)).features[0]) for image in (flat, noisy)]
    assert scores[0] > 0.5 > scores[1]
