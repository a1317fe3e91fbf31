"""Command line: arguments → the pipeline → text, JSON or a heatmap.

Knows the pipeline's public interface alone. Nothing heavy is imported before the arguments have been understood.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_demo.cli import options as shared
from vlm_demo.cli.output import follow, show
from vlm_demo.errors import VlmDemoError

if TYPE_CHECKING:
    from vlm_demo.contracts import Answer, Scores

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 done, 2 an error said in one sentence, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except VlmDemoError as error:
        print(error, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "vlm_demo":
            raise
        print(f"The package {error.name} is not installed; `make demo` sets everything up.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dispatch(arguments: list[str]) -> int:
    top = argparse.ArgumentParser(
        prog="python -m vlm_demo",
        description="Ask questions about pictures, and see how the answer was made.",
        epilog="Each command explains itself: python -m vlm_demo COMMAND --help",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    described = "\n".join(f"{name:<12} {text}" for name, (_, text) in COMMANDS.items())
    top.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=described)
    command, _ = COMMANDS[top.parse_args(arguments[:1]).command]
    return command(arguments[1:])


def ask(arguments: list[str]) -> int:
    """Ask one question about one or several pictures."""
    parser = shared.command("ask", "Ask a question about one or several pictures.")
    parser.add_argument("given", nargs="+", metavar="IMAGE", help="one or more pictures, and at the end the question")
    parser.usage = "%(prog)s IMAGE [IMAGE ...] QUESTION [options]"
    shared.add_model(parser)
    _add_question_options(parser)
    parser.add_argument("--max-new-tokens", type=shared.positive, metavar="N", help="the longest answer, in tokens")
    options = parser.parse_intermixed_args(arguments)
    if len(options.given) < 2:
        parser.error("a picture and a question are needed")
    *images, question = options.given
    _check_heatmap_path(options.heatmap)

    pipe = shared.load(options)
    stream = pipe.stream(
        _one_or_many(images),
        question,
        ocr=options.ocr,
        evidence_only=options.evidence_only,
        max_new_tokens=options.max_new_tokens,
    )
    live = sys.stdout.isatty() and not options.json
    _show(follow(stream, live), options, printed=live)
    return 0


def explain(arguments: list[str]) -> int:
    """Show how a given answer is read off the picture; nothing is generated."""
    parser = shared.command(
        "explain", "Give the model an answer and see where it looks for each word; nothing is generated."
    )
    parser.add_argument("given", nargs="+", metavar="IMAGE", help="one or more pictures, the question, the answer")
    parser.usage = "%(prog)s IMAGE [IMAGE ...] QUESTION ANSWER [options]"
    shared.add_model(parser)
    _add_question_options(parser)
    options = parser.parse_intermixed_args(arguments)
    if len(options.given) < 3:
        parser.error("a picture, a question and an answer are needed")
    *images, question, text = options.given
    _check_heatmap_path(options.heatmap)

    pipe = shared.load(options)
    answer = pipe.explain(
        _one_or_many(images), question, text, ocr=options.ocr, evidence_only=options.evidence_only, history=()
    )
    _show(answer, options)
    return 0


def score(arguments: list[str]) -> int:
    """Compare a picture with texts."""
    parser = shared.command("score", "Tell how well each text fits a picture; clip and blip2 can.")
    parser.add_argument("given", nargs="+", metavar="TEXT", help="one picture, and then the texts")
    parser.usage = "%(prog)s IMAGE TEXT [TEXT ...] [options]"
    shared.add_model(parser, "clip")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_intermixed_args(arguments)
    if len(options.given) < 2:
        parser.error("a picture and at least one text are needed")
    image, *texts = options.given
    scores = shared.load(options).score(image, texts)
    if options.json:
        print(json.dumps(_scores_as_json(scores), ensure_ascii=False))
        return 0
    print("probability  similarity  match  text")
    for i, text in enumerate(scores.texts):
        match = f"{scores.matches[i]:5.0%}" if scores.matches else "    –"
        print(f"{scores.probabilities[i]:11.1%}  {scores.similarities[i]:10.3f}  {match}  {text}")
    for note in scores.view.notes:
        print(note, file=sys.stderr)
    return 0


def report_environment(arguments: list[str]) -> int:
    """Report on the environment; exit code 0 if the model can answer."""
    parser = shared.command("doctor", "Report what is installed, and whether the model loads and answers.")
    shared.add_model(parser)
    options = parser.parse_args(arguments)

    from vlm_demo.cli import doctor

    return 0 if doctor.report(lambda: shared.load(options), options.model) else 1


def evaluate(arguments: list[str]) -> int:
    """Hand every argument to the scoring of folders."""
    from vlm_demo.cli.evaluate import main as evaluate_main

    return evaluate_main(arguments)


def train(arguments: list[str]) -> int:
    """Hand every argument to the training commands."""
    from vlm_demo.cli.train import main as train_main

    return train_main(arguments) or 0


def train_shards(arguments: list[str]) -> int:
    """Hand every argument to the drawing of stored training pictures."""
    from vlm_demo.training.drawn import main as shards_main

    return shards_main(arguments)


def probe(arguments: list[str]) -> int:
    """Hand every argument to the linear probe of the vision encoder."""
    from vlm_demo.evaluation.linear_probe import main as probe_main

    return probe_main(arguments)


def draw(arguments: list[str]) -> int:
    """Hand every argument to the drawing of held-out pictures."""
    from vlm_demo.training.worlds.export import main as draw_main

    return draw_main(arguments)


def bridges(arguments: list[str]) -> int:
    """Hand every argument to the comparison of the embedded families."""
    from vlm_demo.evaluation.bridges import main as bridges_main

    return bridges_main(arguments)


def bench(arguments: list[str]) -> int:
    """Hand every argument to the timing of this pipeline beside plain transformers."""
    from vlm_demo.cli.bench import main as bench_main

    return bench_main(arguments)


def export(arguments: list[str]) -> int:
    """Copy an embedded model's checkpoint to a folder."""
    parser = shared.command("export", "Copy an embedded model as an ordinary Hugging Face checkpoint to a folder.")
    parser.add_argument("name", metavar="NAME", help="of an embedded model")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new or an empty folder")
    options = parser.parse_args(arguments)

    from vlm_demo.models import embedded, loading

    embedded.require_empty(options.folder)
    announced = loading.announcement(options.name)
    if announced:
        print(announced, file=sys.stderr)
    embedded.export(loading.checkpoint(options.name), options.folder)
    print(f"{options.name} lies in {options.folder}; after `import vlm_demo`, transformers' from_pretrained loads it.")
    return 0


COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "ask": (ask, "ask a question about a picture"),
    "explain": (explain, "see where the model looks for a given answer"),
    "doctor": (report_environment, "report the environment: what works, what is missing"),
    "score": (score, "tell how well each of some texts fits a picture"),
    "evaluate": (evaluate, "score a folder of questions with known answers"),
    "draw": (draw, "draw held-out pictures with questions, for evaluate"),
    "train": (train, "train an embedded model, and prepare what its training reads"),
    "train-shards": (train_shards, "draw pictures with questions once, for training"),
    "probe": (probe, "measure what the vision encoder alone tells apart"),
    "bridges": (bridges, "compare the embedded families in one table"),
    "export": (export, "copy an embedded model as an ordinary checkpoint"),
    "bench": (bench, "time this pipeline beside plain transformers, on random weights"),
}


def _add_question_options(parser: argparse.ArgumentParser) -> None:
    shared.add_prompt(parser)
    parser.add_argument("--heatmap", type=Path, metavar="OUT.png", help="write where the model looked")
    parser.add_argument("--word", metavar="W", help="for which word or words; default: the first content word")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the answer")


def _scores_as_json(scores: Scores) -> dict[str, Any]:
    texts = [
        {
            "text": text,
            "probability": scores.probabilities[i],
            "similarity": scores.similarities[i],
            "match": scores.matches[i] if scores.matches else None,
        }
        for i, text in enumerate(scores.texts)
    ]
    seconds = {stage.name: stage.seconds for stage in scores.stages}
    return {
        "model": scores.model,
        "temperature": scores.temperature,
        "texts": texts,
        "seconds": seconds,
        "notes": list(scores.view.notes),
    }


def _one_or_many(images: list[str]) -> Any:
    return images[0] if len(images) == 1 else images


def _show(answer: Answer, options: argparse.Namespace, printed: bool = False) -> None:
    show(answer, heatmap=options.heatmap, word=options.word, as_json=options.json, printed=printed)


def _check_heatmap_path(path: Path | None) -> None:
    """Say at once, not after a minute's work, that a heatmap can't be written there."""
    if path is None:
        return
    if path.suffix.lower() not in PICTURE_ENDINGS:
        raise VlmDemoError(f"{path} is no picture's name; end it in {', '.join(PICTURE_ENDINGS)}.")
    shared.check_writable(path)
