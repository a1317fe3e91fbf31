"""Run: one resumable stage of training with a time budget, a progress bar, a CSV of the loss and its curve.

Knows nothing of models: it is given a loss function and a stream of batches.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from tqdm import tqdm

WARM_UP = 0.03
SAVE_EVERY_S = 120.0


def train_stage(
    name: str,
    folder: Path,
    modules: dict[str, torch.nn.Module],
    groups: list[dict],
    batches: Callable[[int], Iterable],
    loss_of: Callable[[object], dict[str, torch.Tensor]],
    minutes: float,
    resume: bool = True,
    steps: int | None = None,
) -> dict[str, float]:
    """Train until the stage has used ``minutes`` of wall-clock time, all resumptions together, and at least one step;
    or for so many ``steps``, where runs are to be compared whatever else the machine does.

    The learning rate warms up over the first 3 % of that and then falls to 2 % of its peak by a half cosine.

    Args:
        name: names the checkpoint ``folder/name.pt`` and the log ``folder/name.csv``.
        modules: what is trained and saved, by name.
        groups: parameter groups, each with its peak ``lr``; those with ``muon`` (matrices of hidden layers) are
            trained by Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/), which learns from fewer
            examples here, the others by AdamW.
        batches: from the number of batches already used to an iterable of batches.
        loss_of: a batch to named losses; ``total`` is minimised, ``examples`` counts pictures.
    Returns:
        steps, examples, seconds and the last smoothed loss.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file, log = folder / f"{name}.pt", folder / f"{name}.csv"
    optimizers = _optimizers(groups)
    peaks = [(group, group["lr"]) for optimizer in optimizers for group in optimizer.param_groups]
    step, examples, used = 0, 0, 0.0
    if resume and file.exists():
        state = torch.load(file, map_location="cpu", weights_only=True)
        for key, module in modules.items():
            module.load_state_dict(state[key])
        for optimizer, saved_state in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved_state)
        step, examples, used = state["step"], state["examples"], state["seconds"]
    budget, start, saved = minutes * 60, time.monotonic(), time.monotonic()
    parameters = [p for group in groups for p in group["params"]]
    smooth: dict[str, float] = {}

    def save() -> None:
        state = {key: module.state_dict() for key, module in modules.items()}
        seconds = used + time.monotonic() - start
        state |= {
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "step": step,
            "examples": examples,
            "seconds": seconds,
        }
        torch.save(state, file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)

    with log.open("a" if step else "w", newline="") as handle, tqdm(total=round(budget), unit="s", desc=name) as bar:
        rows = csv.writer(handle)
        bar.update(round(used))
        for batch in batches(step):
            elapsed = used + time.monotonic() - start
            share = min(1.0, step / steps if steps else elapsed / budget)
            if share >= 1 and step:
                break
            factor = min(1.0, share / WARM_UP + 0.01) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
            for group, peak in peaks:
                group["lr"] = peak * factor
            losses = loss_of(batch)
            losses["total"].backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            step += 1
            examples += int(losses["examples"])
            for key, value in ((k, float(v.detach())) for k, v in losses.items() if k != "examples"):
                smooth[key] = 0.97 * smooth.get(key, value) + 0.03 * value
            if step == 1:
                rows.writerow(["step", "examples", "seconds", *smooth])
            if step % 20 == 0:
                rows.writerow([step, examples, round(elapsed, 1), *(round(v, 5) for v in smooth.values())])
                handle.flush()
                bar.update(round(elapsed) - bar.n)
                rate = f"{examples / max(elapsed, 1):.0f}/s"
                bar.set_postfix(loss=f"{smooth['total']:.3f}", pictures=rate, refresh=False)
            if time.monotonic() - saved > SAVE_EVERY_S:
                save()
                saved = time.monotonic()
    save()
    _draw_curve(log, folder / f"{name}.png")
    return {"steps": step, "examples": examples, "seconds": round(used + time.monotonic() - start), **smooth}


def _optimizers(groups: list[dict]) -> list[torch.optim.Optimizer]:
    plain = [group for group in groups if not group.get("muon")]
    matrices = [{key: group[key] for key in ("params", "lr")} for group in groups if group.get("muon")]
    made: list[torch.optim.Optimizer] = [torch.optim.AdamW(plain, betas=(0.9, 0.98), weight_decay=0.02, fused=True)]
    if matrices:
        made.append(torch.optim.Muon(matrices, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"))
    return made


def _draw_curve(log: Path, picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with log.open() as handle:
        rows = list(csv.DictReader(handle))
    if not rows:
        return
    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    examples = [int(row["examples"]) for row in rows]
    for key in rows[0]:
        if key not in ("step", "examples", "seconds"):
            axes.plot(examples, [float(row[key]) for row in rows], label=key, linewidth=1)
    axes.set(xlabel="pictures", ylabel="loss", yscale="log")
    axes.legend(frameon=False)
    figure.savefig(picture, dpi=120)
    pyplot.close(figure)
