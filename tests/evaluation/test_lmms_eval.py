"""lmms-eval's requests become the questions that they are, and with the package installed its own evaluator runs."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.kit.fake_engine import FakeEngine
from vlm_demo import Turn
from vlm_demo.contracts.engine import Event, Request, answered
from vlm_demo.contracts.sampling import Sampling
from vlm_demo.engines import local
from vlm_demo.errors import BadQuestion, BadSetting, UnsupportedModel
from vlm_demo.evaluation import lmms_eval

RED, BLUE = (Image.new("RGB", (60, 40), colour) for colour in ("red", "blue"))
ROOT = Path(__file__).parents[2]


def part(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


@pytest.mark.parametrize(
    ("decoding", "expected"),
    [
        ({"do_sample": False, "temperature": 0.2, "top_p": 0.5}, Sampling(temperature=0)),
        ({"temperature": 0.2, "top_p": 0.5, "top_k": 3}, Sampling(0.2, 0.5, 3)),
        ({"do_sample": True, "until": "."}, Sampling(temperature=0, stop=(".",))),
    ],
)
def test_a_task_decides_how_tokens_are_chosen(decoding: dict[str, Any], expected: Sampling) -> None:
    assert lmms_eval.sampling(decoding) == expected


def test_a_conversation() -> None:
    messages = [
        {"role": "system", "content": [part("text", text="Be brief.")]},
        {"role": "user", "content": [part("image", url=RED), part("text", text="Which colour?")]},
        {"role": "assistant", "content": [part("text", text="Red.")]},
        {"role": "user", "content": [part("text", text="And this?"), part("image", url=BLUE)]},
    ]
    request = lmms_eval.conversation(messages, {"max_new_tokens": 5})
    assert (request.system, request.question, request.images) == ("Be brief.", "And this?", (BLUE,))
    assert request.history == (Turn("Which colour?", "Red.", (RED,)),) and request.max_new_tokens == 5


def test_what_it_can_t_do_is_an_error() -> None:
    video = [{"role": "user", "content": [part("video", url="a.mp4"), part("text", text="What?")]}]
    with pytest.raises(UnsupportedModel, match="this task holds video: leave it out"):
        lmms_eval.conversation(video, {})
    with pytest.raises(BadSetting, match="num_beams=1"):
        lmms_eval.sampling({"num_beams": 4})


def test_the_entry_point_names_what_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["lmms_eval.models"]["vlm_demo"].partition(":")
    assert getattr(import_module(module), name) is lmms_eval.manifest


# -- with the package itself ------------------------------------------------------------------------------------------

TASK = {
    "task": "colours",
    "dataset_kwargs": {"load_from_disk": True},
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"max_new_tokens": 9, "until": ["\n\n"]},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True}],
}
# `doc_to_visual` has to be a function, which a task's file names.
VISUAL = "doc_to_visual: !function pictures.of\n"


class Painter(FakeEngine):
    """Answers with the colour of the picture's corner and records its requests; one question is too long for it."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[Request] = []

    def stream(self, request: Request) -> Iterator[Event]:
        self.received.append(request)
        if request.question == "Too long?":
            raise BadQuestion("The question is too long: shorten it.")
        red, _, blue = request.images[0].convert("RGB").getpixel((0, 0))
        yield replace(answered(super().stream(request)), text="Red" if red > blue else "Blue")


def write_task(path: Path, task: dict[str, Any]) -> None:
    path.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in task.items()) + VISUAL)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A folder with the task ``colours``, of three questions."""
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("lmms_eval")
    questions = ["Which colour?", "Which colour?", "Too long?"]
    columns = {"image": [RED, BLUE, RED], "question": questions, "answer": ["red", "blue", "red"]}
    features = datasets.Features(
        {"image": datasets.Image(), **dict.fromkeys(("question", "answer"), datasets.Value("string"))}
    )
    datasets.DatasetDict({"test": datasets.Dataset.from_dict(columns, features)}).save_to_disk(tmp_path / "data")
    (tmp_path / "pictures.py").write_text("def of(doc):\n    return [doc['image']]\n")
    written = {**TASK, "dataset_path": str(tmp_path / "data")}
    write_task(tmp_path / "colours.yaml", written)
    return tmp_path


def test_its_evaluator_asks_the_engine_and_scores_the_answers(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.models import MODEL_REGISTRY_V2
    from lmms_eval.tasks import TaskManager

    MODEL_REGISTRY_V2.register_manifest(lmms_eval.manifest(), overwrite=True)
    painter, loaded = Painter(), []
    monkeypatch.setattr(local, "load", lambda *args: loaded.append(args) or painter)
    results = simple_evaluate(
        model="vlm_demo",
        model_args="model=llava-vit,ocr=True",
        tasks=["colours"],
        task_manager=TaskManager(include_path=str(task), include_defaults=False),
        bootstrap_iters=0,
        cli_args=None,
    )
    assert results["results"]["colours"]["exact_match,none"] == pytest.approx(2 / 3)
    assert loaded == [("llava-vit", "none", None)] and all(request.ocr for request in painter.received)
    assert [request.question for request in painter.received] == ["Which colour?", "Which colour?", "Too long?"]
    assert {(request.max_new_tokens, request.sampling) for request in painter.received} == {
        (9, Sampling(temperature=0, stop=("\n\n",)))
    }
