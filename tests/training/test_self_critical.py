"""Self-critical training: captions that score better than a picture's others become more likely."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.kit.tiny_parts import SIDE, TOKENS, write_folder
from vlm_demo.evaluation.cider import cider_d
from vlm_demo.training import finetune, sample_batches, self_critical
from vlm_demo.training.branches import BranchPacker, Packed
from vlm_demo.training.finetune import Parts, Trainer
from vlm_demo.training.mixture import Mixture, Sample
from vlm_demo.training.self_critical import END, CaptionedPictures, SelfCritical, advantages, sampled

DOG = ["A dog runs.", "A brown dog runs on grass.", "The dog is on the grass."]
CAT = ["A cat sleeps.", "A cat lies on a bed.", "The cat sleeps on its bed."]


@pytest.fixture
def trainer(parts: Parts, tmp_path: Path) -> Trainer:
    """Of a folder with as many pictures of dogs as of cats; one has two captions, too few."""
    items = [{"captions": captions} for captions in (DOG, CAT) * 8] + [{"captions": DOG[:2]}]
    write_folder(tmp_path / "photos" / "coco_train", items)
    packer = BranchPacker(parts.tokenizer, TOKENS)
    mixtures = (Mixture([tmp_path / "photos"], packer, SIDE, held=held) for held in (False, True))
    return Trainer(parts, *mixtures, tmp_path / "run")


def test_advantages_are_relative_to_the_pictures_other_samples() -> None:
    found = advantages(torch.tensor([[1.0, 0.0, 0.0], [2.0, 2.0, 2.0]]))
    assert found[0, 0] > 0 > found[0, 1] and found[0].sum() == pytest.approx(0, abs=1e-6)
    assert found[1].tolist() == [0, 0, 0]
    assert found.abs().mean() == pytest.approx(1)


def test_a_caption_scores_cider_d_and_0_where_it_is_no_sentence(trainer: Trainer) -> None:
    pictures = CaptionedPictures(trainer.data)
    references = [CAT if "cat" in str(case) else DOG for case in pictures.references.texts]
    assert len(pictures.files) == len(references) == 16 - len(trainer.held.folders["coco_train"].items)
    with_ends = [[text + END for text in texts] for texts in references]
    candidates = ["A dog sleeps." + END] * len(references)
    found = [pictures.score(i, "A dog sleeps.", ended=True) for i in range(len(references))]
    assert found == pytest.approx(cider_d(candidates, with_ends)) and max(found) > min(found) > 0
    assert [pictures.score(0, *case) for case in (("A dog sleeps.", False), ("a dog.", True), ("A dog", True))] == [
        0
    ] * 3


def test_sampling_with_a_cache_agrees_with_the_full_forward_pass(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "multinomial", lambda weights, count: weights.argmax(-1, keepdim=True))
    parts, packer = trainer.parts, trainer.data.packer
    pictures = [trainer.data.sample(0, i).pixels for i in range(3)]
    prompt_ids = [*packer.prefix, *packer.encode("What is it?"), *packer.to_answer]
    rows = sampled(parts, trainer.image_tokens(pictures), prompt_ids, packer.end[0], 2, 6)
    assert parts.llm.config._attn_implementation == finetune.ATTENTION
    assert len(rows) == 6 and rows[0] == rows[1] and rows[0] != rows[2]
    for pixels, row in zip(pictures, rows[::2], strict=True):
        ids = np.array([*prompt_ids, *row])
        answer = (np.arange(len(ids)) >= len(prompt_ids)).astype(np.float32)
        packed = Packed(ids, np.arange(len(ids)), np.zeros(len(ids), int), answer, ("caption",), answer.astype(int) - 1)
        logits, _ = trainer.logits([Sample(pixels, packed, "")])
        assert logits.argmax(-1).tolist() == row


def test_captions_with_better_scores_become_more_likely(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights write no sentences: here captions score by their number of letters e."""
    monkeypatch.setattr(CaptionedPictures, "score", lambda self, index, caption, ended: float(caption.count("e")))
    monkeypatch.setattr(self_critical, "MAX_CAPTION_TOKENS", 6)
    torch.manual_seed(0)
    critic = SelfCritical(trainer, trainer.data.packer)
    trainer.set_rate(5e-3)
    for _ in range(25):
        trainer.optimizer.zero_grad()
        critic.loss(4, 6).backward()
        trainer.optimizer.step()
        trainer.step += 1
    assert np.mean(critic.scores[-5:]) > 1.5 * np.mean(critic.scores[:5])


def test_a_run_ends_with_caption_training_where_requested(
    parts: Parts, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "compile_layers", lambda parts: None)
    monkeypatch.setattr(sample_batches, "POOL", 8)
    monkeypatch.setattr(self_critical, "PICTURES", 2)
    clock = iter(range(10**6))
    monkeypatch.setattr(self_critical, "time", type("Clock", (), {"perf_counter": lambda: float(next(clock))}))
    before = parts.trained()["lora.layers.0.self_attn.q_proj.B"].detach().clone()
    finetune.run(parts, trainer.data, trainer.held, tmp_path / "run", 0.0, 15, 1, 0.0, caption_minutes=0.1)
    log = (tmp_path / "run" / "log.jsonl").read_text()
    assert '"held_out"' in log and (tmp_path / "run" / "checkpoint.pt").is_file()
    assert not torch.equal(before, parts.trained()["lora.layers.0.self_attn.q_proj.B"])


def test_a_run_ends_with_labels_where_requested(
    parts: Parts, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "compile_layers", lambda parts: None)
    monkeypatch.setattr(finetune, "LABEL_SHARES", {"coco_train": 1.0})
    monkeypatch.setattr(sample_batches, "POOL", 8)
    clock = iter(range(10**6))
    monkeypatch.setattr(finetune, "time", type("Clock", (), {"perf_counter": lambda: float(next(clock))}))
    rates = list[float]()
    monkeypatch.setattr(Trainer, "set_rate", lambda self, rate: rates.append(rate))
    before = parts.trained()["lora.layers.0.self_attn.q_proj.B"].detach().clone()
    finetune.run(parts, trainer.data, trainer.held, tmp_path / "run", 0.0, 15, 1, 0.0, label_minutes=0.1)
    assert not trainer.data.describes_photos and (tmp_path / "run" / "checkpoint.pt").is_file()
    assert rates and max(rates) <= finetune.LABEL_RATE * finetune.RATE
    assert not torch.equal(before, parts.trained()["lora.layers.0.self_attn.q_proj.B"])
