"""Card: measures a saved checkpoint on held-out pictures and writes its model card; every figure is read, not typed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from safetensors import safe_open

from vlm_demo.synthetic.export import AREAS, export

HELD_OUT_SEED = 1000


def measure(checkpoint: Path, per_kind: int, seed: int = HELD_OUT_SEED) -> dict[str, dict]:
    """Score the checkpoint on each held-out area: area → the report that ``evaluate --json`` writes."""
    from vlm_demo.evaluation import items as reader
    from vlm_demo.evaluation.run import evaluate
    from vlm_demo.pipeline import Pipeline

    engine = Pipeline.from_pretrained(str(checkpoint))
    reports = {}
    with tempfile.TemporaryDirectory() as place:
        for area in AREAS:
            folder = Path(place) / area
            export(folder, area, per_kind if area != "pointing" else per_kind * 4, seed)
            items, skipped = reader.read(folder)
            reports[area] = evaluate(engine, folder, items, skipped).as_dict()
    return reports


def write(checkpoint: Path, stages: dict[str, dict], reports: dict[str, dict], commands: str) -> None:
    """Write ``checkpoint/README.md`` and the figures it shows, ``checkpoint/figures.json``; ``commands`` are the lines
    that started and resumed the training."""
    (checkpoint / "figures.json").write_text(json.dumps({"stages": stages, "held_out": reports}, indent=1) + "\n")
    with safe_open(checkpoint / "model.safetensors", framework="pt") as weights:
        sizes: dict[str, int] = {}
        for key in weights.keys():  # noqa: SIM118 - a safetensors handle is no dict
            shape = weights.get_slice(key).get_shape()
            part = next((p for p in PARTS if p in key), "language model")
            sizes[part] = sizes.get(part, 0) + _product(shape)
    lines = [
        _HEAD.format(commands=commands.strip(), total=sum(sizes.values()) / 1e6),
        "| part | parameters |",
        "|---|---|",
    ]
    lines += [f"| {PARTS.get(part, part)} | {count / 1e6:.2f} M |" for part, count in sizes.items()]
    lines += ["", _TRAINING, "", "| stage | steps | pictures | minutes | last loss |", "|---|---|---|---|---|"]
    for name, stage in stages.items():
        row = (stage["steps"], stage["examples"], stage["seconds"] / 60, stage["total"])
        lines.append(f"| {name} | {row[0]:,} | {row[1]:,} | {row[2]:.0f} | {row[3]:.3f} |")
    lines += ["", _FIGURES, "", "| area | kind | n | right | 95 % interval |", "|---|---|---|---|---|"]
    for area, report in reports.items():
        if area == "pointing":
            lines.append(_row(area, "hottest point in the named object's box", report["pointing"]))
            continue
        lines.append(_row(f"**{area}**", "**all**", report["overall"]))
        lines += [_row(area, kind, score) for kind, score in sorted(report["kinds"].items())]
    lines += ["", _LIMITS]
    (checkpoint / "README.md").write_text("\n".join(lines) + "\n")


def _row(area: str, kind: str, score: dict) -> str:
    if not score["n"]:
        return f"| {area} | {kind} | 0 | – | – |"
    return f"| {area} | {kind} | {score['n']} | {score['accuracy']:.1%} | {score['low']:.1%} – {score['high']:.1%} |"


def _product(shape: list[int]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


PARTS = {"vision_tower": "vision encoder", "multi_modal_projector": "projector"}
_HEAD = """# llava (embedded)

A small LLaVA trained from nothing in this repository: CLIP-style ViT → two-layer projector → LLaMA-style language
model, {total:.1f} M parameters in bf16. An ordinary `LlavaForConditionalGeneration` checkpoint. How it was trained:

```
{commands}
```
"""
_TRAINING = """## Training

Data: coloured-shape scenes, simple bar charts and till receipts, drawn on the fly by `vlm_demo/synthetic` from the
seed, with up to sixteen questions a picture; nothing else. Objectives: patch labels from the exact outlines (`vit`),
then the next token of the answers and the words of each image token with the encoder frozen (`align`), then all of it
together (`tune`). In both of these a few attention heads of the language model are shown where to look: at the things
that an answer is about, at the things to be counted, at the OCR token that it copies (`vlm_demo/training/gaze.py`). Two
CPU cores, bf16 autocast; loss curves lie beside the checkpoints in `runs/`."""
_FIGURES = """## Figures

Held out: other seeds, the two phrasings of each kind and the typeface that training never saw; receipts are read by
the real Tesseract. Unanswerable questions (`absent`) are asked with the evidence-only rule and count as right if the
answer is "unknown"; of the others every second one carries the rule."""
_LIMITS = """## Limits

It knows drawn shapes, simple bar charts and till receipts, and nothing of photographs. It cannot read text without
OCR. Counting three things or more, naming several in order, the labels of bars and very small things are where it errs
most; the table says how often. One picture a conversation is what it was trained on."""
