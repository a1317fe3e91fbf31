"""Card: measures a saved checkpoint on held-out pictures and writes its model card; every figure is read, not typed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from safetensors import safe_open

from vlm_demo.evaluation.report import wilson
from vlm_demo.synthetic.export import AREAS, CAPTIONS, export, export_captions

HELD_OUT_SEED = 1000


def measure(checkpoint: Path, per_kind: int, seed: int = HELD_OUT_SEED) -> dict[str, dict]:
    """Score the checkpoint on each held-out area, and on captions where it compares pictures with texts: area → the
    report that ``evaluate --json`` writes."""
    from vlm_demo.evaluation import items as reader
    from vlm_demo.evaluation import retrieval
    from vlm_demo.evaluation.run import evaluate
    from vlm_demo.pipeline import Pipeline

    engine = Pipeline.from_pretrained(str(checkpoint))
    reports = {}
    with tempfile.TemporaryDirectory() as place:
        for area in AREAS if engine.can_answer else ():
            folder = Path(place) / area
            export(folder, area, per_kind * (4 if area in ("pointing", "pope") else 1), seed)
            items, skipped = reader.read(folder)
            reports[area] = evaluate(engine, folder, items, skipped).as_dict()
        if engine.can_score:
            folder = Path(place) / CAPTIONS
            export_captions(folder, retrieval.SHEET, seed)
            reports[CAPTIONS] = retrieval.retrieve(engine, folder, retrieval.read(folder)).as_dict()
    return reports


def write(family: str, checkpoint: Path, stages: dict[str, dict], reports: dict[str, dict], commands: str) -> None:
    """Write ``checkpoint/README.md`` and the figures it shows, ``checkpoint/figures.json``; ``commands`` are the lines
    that started and resumed the training."""
    told = FAMILIES[family]
    (checkpoint / "figures.json").write_text(json.dumps({"stages": stages, "held_out": reports}, indent=1) + "\n")
    with safe_open(checkpoint / "model.safetensors", framework="pt") as weights:
        sizes: dict[str, int] = {}
        for key in weights.keys():  # noqa: SIM118 - a safetensors handle is no dict
            shape = weights.get_slice(key).get_shape()
            part = next((label for name, label in PARTS.items() if name in key), told["rest"])
            sizes[part] = sizes.get(part, 0) + _product(shape)
    lines = [
        _HEAD.format(family=family, commands=commands.strip(), total=sum(sizes.values()) / 1e6, **told),
        "| part | parameters |",
        "|---|---|",
    ]
    lines += [f"| {part} | {count / 1e6:.2f} M |" for part, count in sizes.items()]
    heads = ("stage", "steps", "pictures", "minutes", "trainable", "last loss")
    lines += [
        "",
        "## Training",
        "",
        _DATA + told["training"],
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for name, stage in stages.items():
        trainable = f"{stage['trainable'] / 1e6:.2f} M" if "trainable" in stage else "–"
        row = (f"{stage['steps']:,}", f"{stage['examples']:,}", f"{stage['seconds'] / 60:.0f}", trainable)
        lines.append(f"| {name} | {' | '.join(row)} | {stage['total']:.3f} |")
    if reports:
        lines += ["", _FIGURES, "", "| area | kind | n | right | 95 % interval |", "|---|---|---|---|---|"]
    for area, report in reports.items():
        if area == CAPTIONS:
            lines += [_row(area, name, score) for name, score in report.items()]
            continue
        if area == "pointing":
            lines.append(_row(area, "hottest point in the named object's box", report["pointing"]))
            continue
        lines.append(_row(f"**{area}**", "**all**", report["overall"]))
        found = report["yes_no"] if area == "pope" else {}
        lines += [_row(area, kind + _yes(found.get(kind)), score) for kind, score in sorted(report["kinds"].items())]
    lines += ["", "## Limits", "", told["limits"]]
    (checkpoint / "README.md").write_text("\n".join(lines) + "\n")


def add_projectors(checkpoint: Path, found: dict[str, dict]) -> None:
    """Add to the card what `projectors.compare` found."""
    heads = ("projector", "trained", "pictures", "answer tokens right", "loss")
    lines = ["", _PROJECTORS, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, figures in found.items():
        low, high = wilson(figures["correct"], figures["tokens"])
        right = f"{figures['right']:.1%} ({low:.1%} – {high:.1%})"
        row = (name, f"{figures['trainable'] / 1e6:.2f} M", f"{figures['examples']:,}", right, f"{figures['loss']:.3f}")
        lines.append(f"| {' | '.join(row)} |")
    file = checkpoint / "README.md"
    before = file.read_text().split(_PROJECTORS.splitlines()[0])[0].rstrip("\n")
    file.write_text(before + "\n" + "\n".join(lines) + "\n")


def _row(area: str, kind: str, score: dict) -> str:
    if not score["n"]:
        return f"| {area} | {kind} | 0 | – | – |"
    return f"| {area} | {kind} | {score['n']} | {score['accuracy']:.1%} | {score['low']:.1%} – {score['high']:.1%} |"


def _yes(found: dict | None) -> str:
    return f" (F1 {found['f1']:.2f}, yes {found['yes_ratio']:.0%})" if found and found["f1"] is not None else ""


def _product(shape: list[int]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


PARTS = {
    "vision_tower": "vision encoder",
    "vision_model": "vision encoder",
    "multi_modal_projector": "projector",
    "qformer": "Q-Former",
    "language_projection": "language projection",
    "gated_cross_attn": "gated cross-attention",
    "language_model": "language model",
}
_HEAD = """# {family} (embedded)

{what}.
{total:.1f} M parameters in bf16; an ordinary `{name}` checkpoint. How it was trained:

```
{commands}
```
"""
_DATA = """Data: scenes of coloured shapes, ray-traced solids, charts, screens and documents, drawn on the fly by
`vlm_demo/synthetic` from the seed; nothing else. bf16 autocast where the processor has it; loss curves lie beside the
checkpoints in `runs/`.
"""
_FIGURES = """## Figures

Held out: other seeds, the two phrasings of each kind, the fonts and the chart renderer that training never saw;
documents and screens are read by the real Tesseract. Unanswerable questions (`absent`) are asked with the evidence-only
rule and count as right if the answer is "unknown"; of the others every second one carries the rule."""
_PROJECTORS = """## Linear or two layers

Two new projectors, trained alone on the same pictures between this encoder and this language model, both frozen
(`python -m vlm_demo train projectors`); each answer token is judged after the right ones before it, on the same
pictures that neither has seen."""
# Prose of the cards, wrapped as it is written out.
FAMILIES = {
    "llava": {
        "what": "A small LLaVA trained from nothing in this repository",
        "name": "LlavaForConditionalGeneration",
        "rest": "language model",
        "training": """Objectives: patch labels from the exact outlines (`vit`), the next token of the answers, the
picture being told in words (`read`), the same through the projector alone (`align`), then all of it together
(`tune`). A few attention heads of the language model are shown where to look: at the things that an answer is about,
at the things to be counted, at the OCR token that it copies, at the printed name that a question holds
(`vlm_demo/training/gaze.py`). Kinds of question that are still answered wrongly are asked more often
(`vlm_demo/training/focus.py`). A stage that the table does not show was left out of this training, which then went on
from earlier weights (see the command).""",
        "limits": """It knows what it was drawn, and nothing of photographs. It cannot read text without OCR. One
picture a conversation is what it was trained on. The table says where it errs.""",
    },
    "clip": {
        "what": "The shared encoder and a text tower, brought together by the contrastive loss",
        "name": "CLIPModel",
        "rest": "text tower",
        "training": """Objective: ITC with a learned temperature, over whole captions and single claims, each also
against the same with one word changed. The encoder's last two layers are trained, all below is the shared encoder.""",
        "limits": "It compares pictures with texts; it writes nothing, and knows nothing of photographs.",
    },
    "blip2": {
        "what": "The shared encoder and language model, both frozen, joined by a Q-Former",
        "name": "Blip2ForConditionalGeneration",
        "rest": "Q-Former",
        "training": """Objectives: the shared encoder's features (`refit`: this class has no layer norm before its
first layer), ITC + ITM + LM on captions (`represent`), LM on answers through the frozen language model
(`generate`). Beside them each query is shown its cell of the picture and the words for what is seen there.
Stages that the table does not show were left out: with `--again` the Q-Former goes on from an earlier one.""",
        "limits": """A picture is a few dozen queries here, each with a cell of its own to keep an eye on, so it errs
where many small things lie close together. It knows nothing of photographs.""",
    },
    "idefics": {
        "what": "The shared encoder and language model, both frozen, joined by gated cross-attention",
        "name": "IdeficsForVisionText2Text",
        "rest": "language model",
        "training": """Objective: LM on answers; the gated layers alone are trained, from closed gates, and a few of
their heads are shown where to look (`vlm_demo/training/gaze.py`). With `--again` the gated layers go on from
earlier ones.""",
        "limits": "It knows what it was drawn, and nothing of photographs.",
    },
}
