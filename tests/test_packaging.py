"""What a Space, an installation elsewhere and a proxy read fits what is pinned here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from vlm_demo import app

ROOT = Path(__file__).parents[1]


def pinned(name: str) -> dict[str, str]:
    lines = (line.split("#")[0].split("--hash")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return dict(line.split("==") for line in lines if "==" in line)


def test_the_space_runs_the_pinned_gradio() -> None:
    front = re.match(r"---\n(.*?)\n---\n", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert front
    settings = dict(line.split(": ", 1) for line in front[1].splitlines())
    assert settings["sdk"] == "gradio" and settings["sdk_version"] == pinned("requirements.txt")["gradio"]
    assert (ROOT / settings["app_file"]).is_file()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    least = project["requires-python"].removeprefix(">=")
    assert [*map(int, settings["python_version"].strip('"').split("."))] >= [*map(int, least.split("."))]
    assert len(settings["short_description"]) <= 60
    assert "tesseract-ocr" in (ROOT / "packages.txt").read_text().split()


def test_the_project_s_extras_are_the_pinned_ones() -> None:
    """A field that is both in the table and dynamic makes setuptools refuse to build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert not set(project) & set(project["dynamic"])
    extra = dict(line.split("==") for line in project["optional-dependencies"]["train"])
    assert extra == pinned("requirements-train.txt")


def test_the_path_below_a_proxy_is_a_flag() -> None:
    assert app.parse(["--root-path", "/demo"]).root_path == "/demo" and not app.parse([]).root_path
