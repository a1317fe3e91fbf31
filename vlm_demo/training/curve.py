"""Training curve: what a run's log holds, drawn over the steps, a panel a stage."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from vlm_demo.errors import VlmDemoError
from vlm_demo.training import json_lines

SERIES = 7  # of the losses, at most: those that the log has most often
CAPTIONS = "captions"  # the stage of self-critical training


def stages(log: Path) -> dict[str, list[tuple[int, dict[str, float]]]]:
    """Stage → (step, the losses, or CIDEr-D of sampled captions in percent) of each line, in the log's order.

    Raises:
        VlmDemoError: the log can't be read, or holds no steps.
    """
    try:
        lines = json_lines.read(log)
    except (OSError, ValueError) as error:
        raise VlmDemoError(f"{log} can't be read as the log of a training run: {error}") from error
    found: dict[str, list[tuple[int, dict[str, float]]]] = {}
    for line in lines:
        if "step" in line and (values := _values(line)):
            found.setdefault(str(line.get("stage")), []).append((line["step"], values))
    if not found:
        raise VlmDemoError(f"{log} holds no steps of training.")
    return found


def draw(log: Path, file: Path) -> None:
    """Write the curve as PNG or SVG, by the file's name; errors as `stages`."""
    from matplotlib.figure import Figure

    panels = stages(log)
    figure = Figure((4.5 * len(panels), 3.6), layout="constrained")
    for axes, (stage, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for name in _most_frequent(points):
            steps, values = zip(*((step, values[name]) for step, values in points if name in values), strict=True)
            axes.plot(steps, values, ".-", label=name)
        axes.set(xlabel="step", ylabel="CIDEr-D of samples" if stage == CAPTIONS else "loss (matched: a share)")
        axes.set_title("captions" if stage == CAPTIONS else f"stage {stage}", fontsize=10)
        axes.legend(fontsize=7)
    figure.savefig(file, dpi=110)


def _values(line: dict[str, Any]) -> dict[str, float]:
    return {"CIDEr-D": line["cider"]} if "cider" in line else dict(line.get("loss", {}))


def _most_frequent(points: list[tuple[int, dict[str, float]]]) -> list[str]:
    counts = Counter(name for _, values in points for name in sorted(values))
    return sorted(name for name, _ in counts.most_common(SERIES))
