"""The files that ship are found next to the package in a clone, and inside it where it is installed."""

from pathlib import Path

import pytest

from vlm_demo import shipped
from vlm_demo.models.loading import embedded_names
from vlm_demo.ui.start import EXAMPLES

ROOT = Path(__file__).parents[1]


def test_a_clone_holds_them_next_to_the_package() -> None:
    assert shipped.folder("models") == ROOT / "assets" / "models"
    assert "llava" in embedded_names() and (EXAMPLES / "examples.json").is_file()


def test_an_installed_package_holds_them_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "vlm_demo"
    (package / "assets" / "models").mkdir(parents=True)
    (tmp_path / "site" / "assets").mkdir()  # somebody else's
    monkeypatch.setattr(shipped, "PACKAGE", package)
    assert shipped.folder("models") == package / "assets" / "models"
