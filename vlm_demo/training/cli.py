"""`python -m vlm_demo train FAMILY`: trains an embedded model and writes its checkpoint and card."""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
from pathlib import Path

COMMANDS = "commands.txt"


def main(argv: list[str] | None = None) -> int:
    """Parse ``argv`` and train; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m vlm_demo train", description=__doc__)
    parser.add_argument("family", choices=["llava"])
    parser.add_argument("--minutes", type=float, default=75, help="wall-clock budget of all stages together")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw pictures")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the training itself")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints in --runs")
    parser.add_argument("--from", dest="start", type=Path, help="go on from an exported checkpoint")
    parser.add_argument(
        "--stages", nargs="+", choices=["vit", "read", "align", "tune"], help="all, or with --from tune alone"
    )
    parser.add_argument("--bridge", default="mlp", choices=["mlp", "linear"], help="the projector")
    parser.add_argument("--retokenize", action="store_true", help="with --from: learn a new tokenizer all the same")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of resumable checkpoints and logs")
    parser.add_argument("--out", type=Path, default=Path("assets/models"), help="the checkpoint goes to OUT/FAMILY")
    parser.add_argument("--export-only", action="store_true", help="train nothing; write the newest state to OUT")
    parser.add_argument(
        "--per-kind", type=int, default=60, help="held-out questions of each kind for the card's figures"
    )
    args = parser.parse_args(argv)

    import torch

    from vlm_demo.training import card, heatmaps, llava
    from vlm_demo.training.world import save_world

    torch.set_num_threads(args.threads)
    folder, target = args.runs / args.family, args.out / args.family
    if not args.export_only:
        note_command(folder, argv, args)
        stages = args.stages or (["tune"] if args.start else list(llava.SHARES))
        options = (args.minutes, args.seed, args.device, args.workers, args.resume, args.start)
        llava.train(folder, *options, tuple(stages), args.retokenize, args.bridge)
    model, tokenizer = llava.load_latest(folder, args.seed)
    llava.save(model, tokenizer, target)
    inside = save_world(model, target, args.seed)
    print("inside its world: " + ", ".join(f"{share:.1%} of {kind} pictures" for kind, share in inside.items()))
    heatmaps.choose(target, args.seed)
    files = {name: folder / f"{name}.json" for name in llava.SHARES}
    done = {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}
    commands = (folder / COMMANDS).read_text() if (folder / COMMANDS).exists() else ""
    card.write(target, done, card.measure(target, args.per_kind), commands)
    print(f"saved {target}")
    return 0


def note_command(folder: Path, argv: list[str] | None, args: argparse.Namespace) -> None:
    """Take down how the run was started, and once more each time that it is resumed: the card shows it."""
    line = "python -m vlm_demo train " + shlex.join(sys.argv[1:] if argv is None else argv)
    if args.start:
        digest = hashlib.sha256((args.start / "model.safetensors").read_bytes()).hexdigest()
        line += f"  # --from weights with sha256 {digest[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / COMMANDS).open("a" if args.resume else "w") as handle:
        handle.write(line + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
