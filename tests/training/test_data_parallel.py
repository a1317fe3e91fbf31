"""Processes that train together, as torchrun starts them: against one process that has all the samples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from vlm_demo.training.data_parallel import Peers, init_peers

ROOT = Path(__file__).parents[2]
INPUTS = ([[1.0, 2.0], [0.5, -1.0]], [[-3.0, 0.25], [2.0, 2.0]])
ONE_PROCESS = f"""
import json, sys, torch
from torch import nn
from vlm_demo.training.data_parallel import init_peers
peers = init_peers()
torch.manual_seed(0)
layer, unused = nn.Linear(2, 3), nn.Parameter(torch.ones(2))
layer(torch.tensor({INPUTS}[peers.rank])).pow(2).mean().backward()
peers.average_gradients([*layer.parameters(), unused])
peers.barrier()
found = [weight.grad.tolist() for weight in (*layer.parameters(), unused)]
found = [peers.world_size, peers.broadcast(float(peers.rank) + 7), found]
open(f"{{sys.argv[1]}}/{{peers.rank}}.json", "w").write(json.dumps(found))
"""


def test_the_mean_gradient_of_two_processes_is_that_of_one_with_all_samples(tmp_path: Path) -> None:
    script = tmp_path / "process.py"
    script.write_text(ONE_PROCESS, encoding="utf-8")
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, tmp_path]
    subprocess.run(run, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin", "OMP_NUM_THREADS": "1"}, check=True)
    torch.manual_seed(0)
    layer = nn.Linear(2, 3)
    layer(torch.tensor(INPUTS)).pow(2).mean().backward()
    for rank in range(2):
        world_size, broadcast, gradients = json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8"))
        weight, bias, unused = gradients
        assert (world_size, broadcast) == (2, 7.0)
        torch.testing.assert_close(torch.tensor(weight), layer.weight.grad)
        torch.testing.assert_close(torch.tensor(bias), layer.bias.grad)
        assert unused == [0.0, 0.0]


def test_a_process_alone_keeps_its_gradients() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    (3 * weight).sum().backward()
    peers = init_peers()
    peers.average_gradients([weight])
    assert peers == Peers(0, 1) and peers.is_main and weight.grad == torch.tensor([3.0])
