"""A stage learns, stops on time, resumes where it stopped, and leaves its log and curve."""

import csv
import itertools

import torch

from vlm_demo.training.run import train_stage


def _stage(folder, minutes, seen):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 1))

    def batches(start):
        for number in itertools.count(start):
            seen.append(number)
            yield torch.randn(16, 4, generator=torch.Generator().manual_seed(number))

    def loss_of(batch):
        error = (module(batch).squeeze(-1) - batch.sum(-1)).pow(2).mean()
        return {"total": error, "examples": torch.tensor(len(batch))}

    groups = [
        {"params": [p for p in module.parameters() if p.ndim == 1], "lr": 5e-2},
        {"params": [p for p in module.parameters() if p.ndim == 2], "lr": 5e-2, "muon": True},
    ]
    return module, train_stage("toy", folder, {"module": module}, groups, batches, loss_of, minutes)


def test_a_stage_learns_and_resumes_to_the_step(tmp_path):
    first_seen, second_seen = [], []
    module, first = _stage(tmp_path, 0.02, first_seen)
    saved = torch.load(tmp_path / "toy.pt", weights_only=True)
    assert all(torch.equal(saved["module"][key], value) for key, value in module.state_dict().items())
    _, second = _stage(tmp_path, 0.04, second_seen)
    assert second_seen[0] == first["steps"] == saved["step"]
    assert second["steps"] > first["steps"] and second["examples"] == 16 * second["steps"]
    with (tmp_path / "toy.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert float(rows[-1]["total"]) < 0.6 * float(rows[0]["total"])
    assert [int(row["step"]) for row in rows] == sorted({int(row["step"]) for row in rows})
    assert (tmp_path / "toy.png").stat().st_size > 1000
