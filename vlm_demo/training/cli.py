"""`python -m vlm_demo train FAMILY`: trains an embedded model and writes its checkpoint and card."""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from vlm_demo.training import card

COMMANDS = "commands.txt"


def main(argv: list[str] | None = None) -> int:
    """Parse ``argv`` and train; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m vlm_demo train", description=__doc__)
    parser.add_argument("family", choices=["llava", "clip", "blip2", "idefics", "projectors"])
    parser.add_argument("--minutes", type=float, default=75, help="wall-clock budget of all stages together")
    parser.add_argument("--steps", type=int, default=200, help="of projectors: of each of the two, instead of minutes")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw pictures")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the training itself")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints in --runs")
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        help="go on from this exported llava; the others' encoder and language model (default: OUT/llava)",
    )
    parser.add_argument(
        "--stages",
        nargs="+",
        choices=["vit", "read", "align", "tune", "refit", "represent", "generate"],
        help="of llava: all, or with --from tune alone; of blip2: all",
    )
    parser.add_argument("--bridge", choices=["mlp", "linear"], help="of llava: a new projector of this kind")
    parser.add_argument(
        "--retokenize", action="store_true", help="of llava with --from: learn a new tokenizer all the same"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="of blip2 and idefics: go on from the bridge in OUT/FAMILY, as after the language model alone has changed",
    )
    parser.add_argument(
        "--keep-encoder", action="store_true", help="of llava: tune the projector and the language model alone"
    )
    parser.add_argument(
        "--blend",
        action="store_true",
        help="of llava with --from: export the mean of the weights that it went on from and those that it came to",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of resumable checkpoints and logs")
    parser.add_argument("--out", type=Path, default=Path("assets/models"), help="the checkpoint goes to OUT/FAMILY")
    parser.add_argument("--export-only", action="store_true", help="train nothing; write the newest state to OUT")
    parser.add_argument(
        "--per-kind", type=int, default=60, help="held-out questions of each kind for the card's figures"
    )
    args = parser.parse_args(argv)
    if args.again and args.family not in ("blip2", "idefics"):
        parser.error("--again is of blip2 and idefics alone")
    if args.blend and (args.family != "llava" or args.start is None or args.bridge):
        parser.error("--blend is of llava with --from and without --bridge")
    if args.family == "projectors":
        return _projectors(args)

    import torch

    torch.set_num_threads(args.threads)
    folder, target = args.runs / args.family, args.out / args.family
    if args.family != "llava":
        args.start = args.start or args.out / "llava"
    if not args.export_only:
        note_command(folder, argv, args)
    done, reports = _llava(args, folder, target) if args.family == "llava" else _bridge(args, folder, target)
    commands = (folder / COMMANDS).read_text() if (folder / COMMANDS).exists() else ""
    card.write(args.family, target, done, reports, commands)
    print(f"saved {target}")
    return 0


def _llava(args: argparse.Namespace, folder: Path, target: Path) -> tuple[dict[str, dict], dict[str, dict]]:
    """Train and export LLaVA; what each stage did, and its figures."""
    from vlm_demo.training import heatmaps, llava
    from vlm_demo.training.world import save_world

    if not args.export_only:
        stages = args.stages or (["tune"] if args.start else list(llava.SHARES))
        options = (args.minutes, args.seed, args.device, args.workers, args.resume, args.start)
        llava.train(folder, *options, tuple(stages), args.retokenize, args.bridge, None, args.keep_encoder, args.blend)
    model, tokenizer = llava.load_latest(folder, args.seed)
    llava.save(model, tokenizer, target)
    inside = save_world(model, target, args.seed)
    print("inside its world: " + ", ".join(f"{share:.1%} of {kind} pictures" for kind, share in inside.items()))
    heatmaps.choose(target, args.seed)
    return _done(folder, llava.SHARES), card.measure(target, args.per_kind)


def _projectors(args: argparse.Namespace) -> int:
    """Compare the two projectors on the exported LLaVA and add what was found to its card."""
    from vlm_demo.training import projectors

    target = args.out / "llava"
    found = projectors.compare(args.runs, args.steps, args.seed, args.device, args.workers, target)
    for name, figures in found.items():
        print(f"{name}: {figures['right']:.1%} of {figures['tokens']} answer tokens right, loss {figures['loss']:.3f}")
    card.add_projectors(target, found)
    return 0


def _bridge(args: argparse.Namespace, folder: Path, target: Path) -> tuple[dict[str, dict], dict[str, dict]]:
    """Train and export a family that stands on LLaVA's encoder and language model; what each stage did."""
    from vlm_demo.training import heatmaps

    recipe = import_module(f"vlm_demo.training.{args.family}")
    if not args.export_only:
        options = (args.minutes, args.seed, args.device, args.workers, args.resume, args.start)
        more = {"stages": tuple(args.stages)} if args.stages and args.family == "blip2" else {}
        recipe.train(folder, *options, **(more | {"again": target} if args.again else more))
    recipe.save(*recipe.load_latest(folder), target)
    if args.family != "clip":  # which writes no words
        heatmaps.choose(target, args.seed)
    return _done(folder, recipe.SHARES), card.measure(target, args.per_kind)


def _done(folder: Path, names: Iterable[str]) -> dict[str, dict]:
    files = {name: folder / f"{name}.json" for name in names}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def note_command(folder: Path, argv: list[str] | None, args: argparse.Namespace) -> None:
    """Take down how the run was started, and once more each time that it is resumed: the card shows it."""
    line = "python -m vlm_demo train " + shlex.join(sys.argv[1:] if argv is None else argv)
    if args.start:
        digest = hashlib.sha256((args.start / "model.safetensors").read_bytes()).hexdigest()
        line += f"  # --from weights with sha256 {digest[:16]}"
    if args.again:
        digest = hashlib.sha256((args.out / args.family / "model.safetensors").read_bytes()).hexdigest()
        line += f", --again {digest[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / COMMANDS).open("a" if args.resume else "w") as handle:
        handle.write(line + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
