"""`python -m vlm_demo train`: trains the embedded model, and prepares and measures what belongs to its training."""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_demo import options as shared
from vlm_demo.errors import VlmDemoError

if TYPE_CHECKING:
    from vlm_demo.training.finetune import Parts

RECIPE: dict[str, Any] = {
    "family": "llava",
    "language_model": "smollm2-135m-instruct",
    "vision_tower": "efficientnet-lite2",
    "image_size": 288,
}
CHECKPOINT, LOG, STARTED = "checkpoint.pt", "log.jsonl", "started.jsonl"  # in a run's folder
TRAINED, HISTORY = "trained.safetensors", "training.json"  # beside the exported weights
OUT = Path("assets/models/llava")
DRAWN = Path("runs/drawn")


def main(argv: list[str] | None = None) -> int:
    """Run one of the training commands and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m vlm_demo train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add: dict[str, Callable[[argparse.ArgumentParser], None]] = {
        "llava": _add_llava,
        "ocr": _add_ocr,
        "world": _add_world,
    }
    for name, (_, text) in COMMANDS.items():
        add[name](commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}."))
    arguments = sys.argv[1:] if argv is None else argv
    args = parser.parse_args(arguments)
    args.line = f"python -m vlm_demo train {shlex.join(arguments)}"
    command, _ = COMMANDS[args.command]
    return command(args)


def _add_llava(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--photos",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FOLDER",
        help="holds folders of annotated photographs",
    )
    parser.add_argument("--drawn", type=Path, default=DRAWN, help="what train-shards wrote (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=75, help="of projector and LoRA together")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in RUNS/llava")
    parser.add_argument("--init", type=Path, metavar="FILE", help=f"begin with the weights of this {TRAINED}")
    parser.add_argument("--align-pictures", type=shared.positive, default=9000, metavar="N")
    parser.add_argument("--align-epochs", type=shared.positive, default=4, metavar="N")
    parser.add_argument("--projector-minutes", type=float, default=4, help="of the projector alone, before that")
    parser.add_argument("--seed", type=int, default=0, help="of new weights and of the order of the samples")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of resumable checkpoints and logs")
    parser.add_argument("--out", type=Path, default=OUT, help="where the trained weights go (default: %(default)s)")
    parser.add_argument(
        "--export-only", action="store_true", help="train nothing; write the checkpoint's weights to OUT"
    )
    parser.add_argument("--threads", type=shared.positive, default=2, help="CPU threads")


def _add_ocr(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER", help="holds the folder chartqa")
    parser.add_argument("--drawn", type=Path, default=DRAWN, help="gets ocr/chartqa.jsonl (default: %(default)s)")


def _add_world(parser: argparse.ArgumentParser) -> None:
    shared.add_model(parser)
    parser.add_argument(
        "--pictures", type=Path, nargs="+", required=True, metavar="FOLDER", help="pictures like those trained on"
    )
    parser.add_argument("--count", type=shared.positive, default=1200, help="of them, and of strange ones")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT, help="gets world.safetensors (default: %(default)s)")


# -- llava ------------------------------------------------------------------------------------------------------


def llava(args: argparse.Namespace) -> int:
    """Train projector and LoRA, and export them."""
    folder = args.runs / "llava"
    if args.export_only:
        if not (folder / CHECKPOINT).is_file():
            raise VlmDemoError(f"{folder} holds no {CHECKPOINT} to export; train first, or name another with --runs.")
    else:
        _train(args, folder)
    write(folder, args.out)
    print(f"saved {args.out}")
    return 0


def _train(args: argparse.Namespace, folder: Path) -> None:
    if args.init and not args.init.is_file():
        raise VlmDemoError(f"There are no weights {args.init} to begin with.")
    if args.resume and not (folder / CHECKPOINT).is_file():
        raise VlmDemoError(f"{folder} holds no {CHECKPOINT} to go on from; leave out --resume.")
    write_chat_turns(args.drawn)

    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    from vlm_demo.training.branches import BranchPacker
    from vlm_demo.training.finetune import run
    from vlm_demo.training.mixture import Mixture

    parts = _parts(args.init)
    roots, side = [*args.photos, args.drawn], RECIPE["image_size"]
    packer = BranchPacker(parts.tokenizer, (side // parts.tower.config.patch_size) ** 2)
    data, held = Mixture(roots, packer, side), Mixture(roots, packer, side, held=True)
    if not data.names or not held.names:
        raise VlmDemoError(f"There are no annotated pictures in {', '.join(map(str, roots))}; see train-shards.")
    note_start(folder, args.line, args.init, args.resume)
    run(
        parts,
        data,
        held,
        folder,
        args.minutes,
        args.align_pictures,
        args.align_epochs,
        args.projector_minutes,
        args.resume,
        args.init is not None,
        seed=args.seed,
    )


def _parts(init: Path | None) -> Parts:
    from vlm_demo.models.pretrained import language_model, vision_tower
    from vlm_demo.training.finetune import compose

    tower = vision_tower(RECIPE["vision_tower"], RECIPE["image_size"], _tell)
    model, tokenizer = language_model(RECIPE["language_model"], _tell)
    return compose(tower, model, tokenizer, init)


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


def note_start(folder: Path, line: str, init: Path | None, resumed: bool) -> None:
    """Take down how a run was started, and once more each time that it is resumed."""
    record = {"command": line, "commit": _commit(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    if init is not None:
        record["init_sha256"] = hashlib.sha256(init.read_bytes()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    if not resumed:
        (folder / LOG).unlink(missing_ok=True)
    with (folder / STARTED).open("a" if resumed else "w", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _commit() -> str:
    """The commit of the code that runs, with ``-dirty`` behind it where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        described = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def write(folder: Path, out: Path) -> None:
    """Export a run's averaged weights to ``out``, with their recipe, and add to its ``training.json`` how they came
    about.

    An entry there is one run: ``started``, its commands with commit and time; ``samples`` (pictures seen), ``steps``
    and ``minutes`` of training; ``held_out``, the last shares of held-out answers that were right token for token by
    kind, and ``n``, of how many. A run that is exported again replaces its entry; one that began with no earlier
    weights begins the list anew.
    """
    import torch

    from vlm_demo.training.finetune import export

    export(folder / CHECKPOINT, out, dict(RECIPE))
    state = torch.load(folder / CHECKPOINT, weights_only=True)
    log = _lines(folder / LOG)
    measured: dict[str, Any] = next((line for line in reversed(log) if "held_out" in line), {})
    entry = {
        "started": _lines(folder / STARTED),
        "samples": state["next_sample"],
        "steps": state["step"],
        "minutes": round(state["seconds"] / 60, 1),
        "held_out": measured.get("held_out", {}),
        "n": measured.get("n", {}),
    }
    file = out / HISTORY
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    first = entry["started"][:1]
    kept = [other for other in earlier if other["started"][:1] != first]
    if not (first and "init_sha256" in first[0]):
        kept = []
    file.write_text(json.dumps([*kept, entry], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _lines(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.endswith("}")]


# -- what belongs to it -----------------------------------------------------------------------------------------


def ocr(args: argparse.Namespace) -> int:
    """Let Tesseract read the photographed charts."""
    from vlm_demo.training.photo_ocr import harvest

    shared.require_ocr()
    file = args.drawn / "ocr" / "chartqa.jsonl"
    print(f"{harvest(args.photos / 'chartqa', file)} pictures read into {file}")
    return 0


def world(args: argparse.Namespace) -> int:
    """Fit what tells pictures like the trained ones from strange ones."""
    from vlm_demo.explain.world import FILE, save
    from vlm_demo.training.world import fitted, pictures_in

    if not args.out.is_dir():
        raise VlmDemoError(f"There is no folder {args.out} to write {FILE} into.")
    pictures = pictures_in(args.pictures, args.count, args.seed)
    reader, inside = fitted(shared.load(args), pictures, args.seed)
    save(args.out, reader)
    print(f"inside: {inside['pictures']:.1%} of the pictures, {inside['strange']:.1%} of strange ones")
    print(f"saved {args.out / FILE}")
    return 0


COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int], str]] = {
    "llava": (llava, "train the embedded llava's projector and LoRA on photographs and drawn pictures"),
    "ocr": (ocr, "read the text of photographed charts with Tesseract once, for training"),
    "world": (world, "fit what tells pictures like those trained on from strange ones"),
}


if __name__ == "__main__":
    raise SystemExit(main())
