"""`python -m vlm_demo train`: trains the embedded models, and prepares and measures what belongs to their training."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from vlm_demo.cli import options as shared
from vlm_demo.errors import VlmDemoError
from vlm_demo.models.embedded import TRAINED
from vlm_demo.training import record
from vlm_demo.training.recipes import RECIPES
from vlm_demo.training.record import CHECKPOINT

OUT = Path("assets/models")
DRAWN = Path("runs/drawn")
HELD_PHOTOS = 1000  # at most, for the recall of clip


@dataclass(frozen=True)
class Family:
    """A family of models that answer.

    Attributes:
        module: of this package, see ``prepare.Training``; its ``run`` trains, and its ``spent`` says what that took.
        text: what the command does.
        stages: the options of ``run`` that the command has too, by name, with their defaults.
    """

    module: str
    text: str
    stages: Mapping[str, int | float]


PROJECTOR = {"align_pictures": 9000, "align_epochs": 4, "projector_minutes": 4.0}
# The embedded model → what trains it.
FAMILIES = {
    "llava": Family("finetune", "train the embedded llava's projector and LoRA on photographs and drawings", PROJECTOR),
    "llava-vit": Family("finetune", "train the same behind a DINOv2 ViT", PROJECTOR),
    "blip2": Family(
        "qformer_training",
        "train a Q-Former between vision encoder and language model",
        {"pictures": 12000, "compare_minutes": 30.0, "align_epochs": 2},
    ),
    "idefics": Family(
        "cross_attention",
        "train gated cross-attention layers in the language model",
        {"align_pictures": 9000, "align_epochs": 2},
    ),
}
STAGES = {
    "align_pictures": "pictures whose features are aligned with words, before the language model's loss",
    "align_epochs": "of aligning features with words",
    "projector_minutes": "of the projector alone, after its alignment",
    "pictures": "captioned photographs that are compared with their texts (285 KB of disk each)",
    "compare_minutes": "of comparing them (ITC and ITM), before anything else",
}


def main(argv: list[str] | None = None) -> int:
    """Run one of the training commands and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m vlm_demo train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")

    for name, family in FAMILIES.items():
        _add_family(command(name, family.text), name, family)
    for name, (_, text, add) in OTHERS.items():
        add(command(name, text))
    arguments = sys.argv[1:] if argv is None else argv
    args = parser.parse_args(arguments)
    args.line = f"python -m vlm_demo train {shlex.join(arguments)}"
    if args.command in FAMILIES:
        return family_of(args)
    return OTHERS[args.command][0](args)


def _add_run(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        "--photos",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FOLDER",
        help="holds folders of annotated photographs",
    )
    parser.add_argument("--seed", type=int, default=0, help="of new weights and of the order of the samples")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of checkpoints and logs")
    parser.add_argument(
        "--out", type=Path, default=OUT / name, help="where the trained weights go (default: %(default)s)"
    )
    parser.add_argument(
        "--export-only", action="store_true", help="train nothing; write the checkpoint's weights to OUT"
    )
    parser.add_argument("--threads", type=shared.positive, default=2, help="CPU threads")


def _add_family(parser: argparse.ArgumentParser, name: str, family: Family) -> None:
    _add_run(parser, name)
    parser.add_argument("--drawn", type=Path, default=DRAWN, help="what train-shards wrote (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=75, help="of the language model's loss (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help=f"go on from the checkpoint in RUNS/{name}")
    parser.add_argument("--init", type=Path, metavar="FILE", help=f"begin with the weights of this {TRAINED}")
    for option, default in family.stages.items():
        kind: Callable[[str], int | float] = shared.positive if isinstance(default, int) else float
        parser.add_argument(
            f"--{option.replace('_', '-')}",
            type=kind,
            default=default,
            metavar="N",
            help=f"{STAGES[option]} (default: %(default)s)",
        )


def _add_clip(parser: argparse.ArgumentParser) -> None:
    _add_run(parser, "clip")
    parser.add_argument(
        "--pictures", type=shared.positive, default=40_000, metavar="N", help="at most (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=shared.positive, default=16, metavar="N", help="(default: %(default)s)")


def _add_ocr(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER", help="holds the folder chartqa")
    parser.add_argument("--drawn", type=Path, default=DRAWN, help="gets ocr/chartqa.jsonl (default: %(default)s)")


def _add_world(parser: argparse.ArgumentParser) -> None:
    shared.add_model(parser)
    parser.add_argument(
        "--pictures", type=Path, nargs="+", required=True, metavar="FOLDER", help="pictures like those trained on"
    )
    parser.add_argument("--count", type=shared.positive, default=6000, help="of them at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=OUT / "llava", help="gets training_pictures.safetensors (default: %(default)s)"
    )


# -- models that answer -----------------------------------------------------------------------------------------


def family_of(args: argparse.Namespace) -> int:
    """Train a model that answers, and export what was trained."""
    family, folder = FAMILIES[args.command], args.runs / args.command
    if args.export_only:
        _require_checkpoint(folder, "to export; train first, or name another with --runs")
    else:
        _train(args, family, folder)
    from vlm_demo.training.export import export_run

    export_run(folder, args.out, RECIPES[args.command])
    return _recorded(folder, args.out, _module(family))


def _train(args: argparse.Namespace, family: Family, folder: Path) -> None:
    if args.init and not args.init.is_file():
        raise VlmDemoError(f"There are no weights {args.init} to begin with.")
    if args.resume:
        _require_checkpoint(folder, "to go on from; leave out --resume")
    write_chat_turns(args.drawn)
    _seed(args)

    from vlm_demo.training.prepare import prepare

    training = _module(family)
    parts, data, held = prepare(RECIPES[args.command], training, [*args.photos, args.drawn], args.init, _tell)
    record.note_start(folder, args.line, args.init, args.resume)
    stages = {name: getattr(args, name) for name in family.stages}
    training.run(
        parts,
        data,
        held,
        folder,
        args.minutes,
        resume=args.resume,
        aligned=args.init is not None,
        seed=args.seed,
        **stages,
    )


def _module(family: Family) -> Any:
    return import_module(f"vlm_demo.training.{family.module}")


def _require_checkpoint(folder: Path, what: str) -> None:
    if not (folder / CHECKPOINT).is_file():
        raise VlmDemoError(f"{folder} holds no {CHECKPOINT} {what}.")


def _seed(args: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)


def _recorded(folder: Path, out: Path, training: Any) -> int:
    record.write(folder, out, training.spent(folder))
    print(f"saved {out}")
    return 0


def _tell(_fraction: float | None, text: str) -> None:
    print(f"\r{text}", end="", file=sys.stderr, flush=True)


def write_chat_turns(drawn: Path) -> None:
    """Write the turns that are about no picture to ``chat.jsonl`` in a folder of drawn pictures, where they lack."""
    file = drawn / "chat.jsonl"
    if file.exists():
        return

    import numpy as np

    from vlm_demo.training.chat_turns import chat_turns

    drawn.mkdir(parents=True, exist_ok=True)
    turns = [list(turn) for turn in chat_turns(np.random.default_rng(0))]
    file.write_text(json.dumps({"qa": turns}) + "\n", encoding="utf-8")


# -- others -----------------------------------------------------------------------------------------------------


def clip(args: argparse.Namespace) -> int:
    """Train a pooling head and projections on photographs and their texts, and export them."""
    folder = args.runs / "clip"
    if args.export_only:
        _require_checkpoint(folder, "to export; train first, or name another with --runs")
    from vlm_demo.training import contrastive

    if not args.export_only:
        _seed(args)
        chosen = contrastive.photos(args.photos, False, args.pictures, args.seed)
        apart = contrastive.photos(args.photos, True, HELD_PHOTOS, args.seed)
        record.note_start(folder, args.line, None, False)
        contrastive.run(chosen, apart, folder, RECIPES["clip"], epochs=args.epochs, seed=args.seed)
    contrastive.export(folder, args.out, RECIPES["clip"])
    return _recorded(folder, args.out, contrastive)


def ocr(args: argparse.Namespace) -> int:
    """Let Tesseract read the photographed charts."""
    from vlm_demo.training.photo_ocr import harvest

    shared.require_ocr()
    file = args.drawn / "ocr" / "chartqa.jsonl"
    print(f"{harvest(args.photos / 'chartqa', file)} pictures read into {file}")
    return 0


def world(args: argparse.Namespace) -> int:
    """Fit what tells pictures like the trained ones from others."""
    from vlm_demo.explain.out_of_distribution import FILE, save
    from vlm_demo.training.fit_out_of_distribution import fitted, pictures_in

    if not args.out.is_dir():
        raise VlmDemoError(f"There is no folder {args.out} to write {FILE} into.")
    pictures = pictures_in(args.pictures, args.count, args.seed)
    kept, inside = fitted(shared.load(args), pictures, args.seed)
    save(args.out, kept)
    print(f"inside: {inside:.1%} of pictures that decided nothing")
    print(f"saved {args.out / FILE}")
    return 0


# The other commands: what runs each, what it does, and what adds its options.
OTHERS: dict[str, tuple[Callable[[argparse.Namespace], int], str, Callable[[argparse.ArgumentParser], None]]] = {
    "clip": (clip, "train what compares photographs with texts", _add_clip),
    "ocr": (ocr, "read the text of photographed charts with Tesseract once, for training", _add_ocr),
    "world": (world, "fit what tells pictures like those trained on from others", _add_world),
}


if __name__ == "__main__":
    raise SystemExit(main())
