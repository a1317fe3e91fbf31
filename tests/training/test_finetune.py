"""Fine-tuning: a toy run learns, resumes where it stopped, and exports what the assembly of an embedded model reads."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.kit import tiny_parts
from tests.kit.tiny_parts import SIDE, TOKENS, write_folder
from vlm_demo.models.builders import Recipe, lora, read_recipe, towers
from vlm_demo.models.smollm2 import LanguageModel
from vlm_demo.training import finetune, sample_batches
from vlm_demo.training.branches import BranchPacker
from vlm_demo.training.data_parallel import Peers
from vlm_demo.training.export import export_run
from vlm_demo.training.finetune import Trainer
from vlm_demo.training.lora import ALPHA
from vlm_demo.training.mixture import Mixture, Sample
from vlm_demo.training.sample_batches import POOL, TOKENS_A_BATCH, evenly_split
from vlm_demo.training.trained_parts import Parts

NAMES = ("dog", "cat", "car", "bus")
RECIPE = Recipe("llava", "words", "sight", SIDE, ALPHA)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four pictures, repeated, each with its name."""
    items = [{"captions": [f"a {NAMES[n % 4]} here now"], "qa": [["What is it?", NAMES[n % 4]]]} for n in range(48)]
    folder = write_folder(tmp_path / "photos" / "coco_train", items)
    for n in range(48):
        (folder / f"img/{n:05}.png").write_bytes((folder / f"img/{n % 4:05}.png").read_bytes())
    return tmp_path / "photos"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pools and batches, nothing compiled, and a clock that advances a second at each reading."""
    clock = itertools.count()
    monkeypatch.setattr(sample_batches, "POOL", 8)
    monkeypatch.setattr(sample_batches, "TOKENS_A_BATCH", 300)
    monkeypatch.setattr(finetune, "RATE", 5e-3)
    monkeypatch.setattr(finetune, "WARM_UP", 2)
    monkeypatch.setattr(finetune, "compile_layers", lambda parts: None)
    monkeypatch.setattr(finetune, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))


def trainer_of(parts: Parts, root: Path, folder: Path) -> Trainer:
    packer = BranchPacker(parts.tokenizer, TOKENS)
    return Trainer(parts, Mixture([root], packer, SIDE), Mixture([root], packer, SIDE, held=True), folder)


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_toy_run_learns_in_all_stages(parts: Parts, root: Path, tmp_path: Path, quick: None) -> None:
    before = {name: value.detach().clone() for name, value in parts.trained().items()}
    frozen = parts.llm.model.layers[0].mlp.up_proj.weight.clone(), parts.tower.head.weight.clone()
    packer = BranchPacker(parts.tokenizer, TOKENS)
    data, held = Mixture([root], packer, SIDE), Mixture([root], packer, SIDE, held=True)
    finetune.run(parts, data, held, tmp_path / "run", 2.1, 40, 2, 0.7, log=lambda text: None)
    lines = log(tmp_path / "run")
    assert [line["stage"] for line in lines if "words" in line] == [0]
    losses = {
        stage: [line["loss"]["all"] for line in lines if "loss" in line and line["stage"] == stage] for stage in (1, 2)
    }
    assert len(losses[1]) >= 2 and len(losses[2]) >= 5
    assert losses[2][-1] < 0.5 * losses[1][0]
    measured = [line for line in lines if "held_out" in line]
    assert {"caption", "vqa-word", "folder coco_train"} <= measured[-1]["held_out"].keys()
    assert measured[-1]["held_out"]["vqa-word"] > measured[0]["held_out"]["vqa-word"]
    assert all((value - before[name]).abs().max() > 1e-4 for name, value in parts.trained().items())
    assert torch.equal(frozen[0], parts.llm.model.layers[0].mlp.up_proj.weight)
    assert torch.equal(frozen[1], parts.tower.head.weight)


def test_stage_1_trains_the_projector_only(parts: Parts, root: Path, tmp_path: Path, quick: None) -> None:
    trainer = trainer_of(parts, root, tmp_path / "run")
    before = {name: value.detach().clone() for name, value in parts.trained().items()}
    trainer.train(0.2, 1)
    assert trainer.step > 3
    for name, value in parts.trained().items():
        assert torch.equal(value, before[name]) == name.startswith("lora."), name


def test_a_resumed_run_continues_with_the_same_batch_and_weights(
    language: LanguageModel, in_float32: None, root: Path, tmp_path: Path, quick: None
) -> None:
    first = trainer_of(tiny_parts.compose(language, 0), root, tmp_path / "run")
    first.train(0.2, 2)
    second = trainer_of(tiny_parts.compose(language, 9), root, tmp_path / "run")
    assert second.resume() and not trainer_of(tiny_parts.compose(language), root, tmp_path / "other").resume()
    assert (second.next_sample, second.step, second.seconds) == (first.next_sample, first.step, first.seconds)
    assert first.next_sample > 0 and first.seconds > 10
    for name, value in first.parts.trained().items():
        assert torch.equal(value, second.parts.trained()[name]), name
    batches = [next(trainer.batches()) for trainer in (first, second)]
    for one, two in zip(*batches, strict=True):
        assert np.array_equal(one.packed.ids, two.packed.ids) and np.array_equal(one.pixels, two.pixels)
    for trainer, batch in zip((first, second), batches, strict=True):
        for weight in trainer.parts.trained().values():
            weight.requires_grad_(True)
        trainer.learn(batch, finetune.defaultdict(list))
    for name, value in first.parts.trained().items():
        torch.testing.assert_close(value, second.parts.trained()[name])


def test_processes_train_on_disjoint_samples_of_about_the_same_length(
    parts: Parts, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(parts, root, tmp_path / "run")
    lengths = np.random.default_rng(0).integers(90, 560, 8 * POOL)
    monkeypatch.setattr(
        trainer.data, "sample", lambda seed, number: Sample(np.array(number), range(lengths[number]), "")
    )
    batches = []
    for rank in range(2):
        trainer.peers, trainer.next_sample = Peers(rank, 2), 0
        drawn = trainer.batches()
        batches.append([next(drawn) for _ in range(24)])
    first, second = ({int(sample.pixels) for batch in of_one for sample in batch} for of_one in batches)
    assert not first & second and len(first | second) > 2 * POOL
    tokens = [[sum(len(sample.packed) for sample in batch) for batch in of_one] for of_one in batches]
    assert max(map(max, tokens)) < 1.2 * TOKENS_A_BATCH
    assert np.abs(np.diff(tokens, axis=0)).mean() < 0.15 * TOKENS_A_BATCH


def test_few_long_samples_leave_no_batch_empty() -> None:
    samples = [Sample(np.array(0), range(length), "") for length in (2000, 90, 90, 90, 2000, 90)]
    batches = evenly_split(samples, 2)
    assert len(batches) == 2 and all(batches) and sum(map(len, batches)) == 6


def test_training_starts_from_given_weights(
    language: LanguageModel, parts: Parts, root: Path, tmp_path: Path, quick: None
) -> None:
    trainer = trainer_of(parts, root, tmp_path / "run")
    trainer.train(0.1, 2)
    export_run(tmp_path / "run", tmp_path / "out", RECIPE)
    other = tiny_parts.compose(language, 5, tmp_path / "out" / "trained.safetensors")
    for name, value in other.trained().items():
        assert torch.equal(value, trainer.average[name].bfloat16().float()), name


def test_with_another_tower_only_lora_is_taken_over(
    language: LanguageModel, parts: Parts, root: Path, tmp_path: Path, quick: None
) -> None:
    trainer = trainer_of(parts, root, tmp_path / "run")
    trainer.train(0.1, 2)
    export_run(tmp_path / "run", tmp_path / "out", RECIPE)
    file = tmp_path / "out" / "trained.safetensors"
    assert parts.aligned is False and tiny_parts.compose(language, 5, file).aligned
    narrow = load_file(file)
    narrow["projector.linear_1.weight"] = narrow["projector.linear_1.weight"][:, :-1].contiguous()
    save_file(narrow, tmp_path / "narrow.safetensors")
    other = tiny_parts.compose(language, 5, tmp_path / "narrow.safetensors")
    assert not other.aligned
    for name, value in other.trained().items():
        same = torch.equal(value, trainer.average[name].bfloat16().float())
        assert same == name.startswith("lora."), name


def test_the_last_stages_of_the_tower_can_be_trained_too(
    language: LanguageModel, in_float32: None, root: Path, tmp_path: Path, quick: None
) -> None:
    parts = tiny_parts.compose(language, vision_tower=tiny_parts.trainable_tower())
    before = {name: weight.detach().clone() for name, weight in parts.tower.model.named_parameters()}
    packer = BranchPacker(parts.tokenizer, TOKENS)
    data, held = Mixture([root], packer, SIDE), Mixture([root], packer, SIDE, held=True)
    finetune.run(parts, data, held, tmp_path / "run", 0.4, 40, 1, 0.2, log=lambda text: None, tower_stages=2)
    last = {name for name in before if name.startswith(("stages.4.", "stages.5.", "head."))}
    assert parts.trained_tower.keys() == last
    for name, weight in parts.tower.model.named_parameters():
        assert torch.equal(weight, before[name]) != (name in last), name
    losses = [line["loss"] for line in log(tmp_path / "run") if "loss" in line and line["stage"] == 2]
    assert all("words" in loss for loss in losses) and losses

    export_run(tmp_path / "run", tmp_path / "out", RECIPE)
    file = tmp_path / "out" / "trained.safetensors"
    tower_weights = dict(parts.tower.model.named_parameters())
    replaced = towers.replaced({name: weight.detach() for name, weight in tower_weights.items()}, load_file(file))
    again = tiny_parts.compose(language, 5, file, tiny_parts.trainable_tower())
    assert again.trained_tower.keys() == last
    for name, weight in again.tower.model.named_parameters():
        assert torch.equal(weight, replaced[name].float()), name


def test_an_embedded_model_can_be_assembled_from_the_export(
    parts: Parts, root: Path, tmp_path: Path, quick: None, language: LanguageModel
) -> None:
    trainer = trainer_of(parts, root, tmp_path / "run")
    trainer.train(0.1, 2)
    export_run(tmp_path / "run", tmp_path / "out", RECIPE)
    recipe = read_recipe(tmp_path / "out" / "recipe.json")
    assert recipe == RECIPE
    trained = load_file(tmp_path / "out" / "trained.safetensors")
    assert trained.keys() == parts.trained().keys() and {tensor.dtype for tensor in trained.values()} == {
        torch.bfloat16
    }
    merged = lora.merged(language.weights, trained, recipe.lora_alpha)
    name = "model.layers.1.mlp.down_proj.weight"
    low, high = (trainer.average[f"lora.layers.1.mlp.down_proj.{half}"] for half in "AB")
    expected = language.weights[name] + 2 * high @ low
    torch.testing.assert_close(merged[name], expected, atol=1e-2, rtol=1e-2)
    assert (merged[name] - language.weights[name]).abs().max() > 0.02


def test_a_share_of_the_weights_it_began_with_is_mixed_into_the_export(
    parts: Parts, root: Path, tmp_path: Path, quick: None
) -> None:
    before = {name: torch.full_like(value, 2.0) for name, value in parts.trained().items()}
    save_file(before, tmp_path / "before.safetensors")
    trainer_of(parts, root, tmp_path / "run").train(0.1, 2)
    export_run(tmp_path / "run", tmp_path / "after", RECIPE)
    export_run(tmp_path / "run", tmp_path / "mixed", RECIPE, tmp_path / "before.safetensors", 0.25)
    after, mixed = (load_file(tmp_path / name / "trained.safetensors") for name in ("after", "mixed"))
    for name, value in after.items():
        torch.testing.assert_close(mixed[name].float(), 0.75 * value.float() + 0.5, atol=2e-2, rtol=1e-2)
