"""Command line: arguments → the pipeline → text, JSON or a heatmap.

Knows the pipeline's public interface alone. Nothing heavy is imported before the arguments have been understood.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_demo import trust
from vlm_demo.errors import OcrUnavailable, VlmDemoError
from vlm_demo.show import follow, show

if TYPE_CHECKING:
    from vlm_demo import Pipeline
    from vlm_demo.answer import Answer
    from vlm_demo.contracts import Scores

PRECISIONS = ("none", "8bit", "4bit")
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
    described = "\n".join(f"{name:<9} {text}" for name, (_, text) in COMMANDS.items())
    top.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=described)
    command, _ = COMMANDS[top.parse_args(arguments[:1]).command]
    return command(arguments[1:])


def ask(arguments: list[str]) -> int:
    """Ask one question about one or several pictures."""
    parser = _parser("ask", "Ask a question about one or several pictures.")
    parser.add_argument("given", nargs="+", metavar="IMAGE", help="one or more pictures, and at the end the question")
    parser.usage = "%(prog)s IMAGE [IMAGE ...] QUESTION [options]"
    _add_model_options(parser)
    _add_question_options(parser)
    parser.add_argument("--max-new-tokens", type=_positive, metavar="N", help="the longest answer, in tokens")
    options = parser.parse_intermixed_args(arguments)
    if len(options.given) < 2:
        parser.error("a picture and a question are needed")
    *images, question = options.given
    _check_heatmap_path(options.heatmap)

    pipe = _load(options)
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
    parser = _parser("explain", "Give the model an answer and see where it looks for each word; nothing is generated.")
    parser.add_argument("given", nargs="+", metavar="IMAGE", help="one or more pictures, the question, the answer")
    parser.usage = "%(prog)s IMAGE [IMAGE ...] QUESTION ANSWER [options]"
    _add_model_options(parser)
    _add_question_options(parser)
    options = parser.parse_intermixed_args(arguments)
    if len(options.given) < 3:
        parser.error("a picture, a question and an answer are needed")
    *images, question, text = options.given
    _check_heatmap_path(options.heatmap)

    pipe = _load(options)
    answer = pipe.explain(
        _one_or_many(images), question, text, ocr=options.ocr, evidence_only=options.evidence_only, history=()
    )
    _show(answer, options)
    return 0


def score(arguments: list[str]) -> int:
    """Compare a picture with texts."""
    parser = _parser("score", "Tell how well each text fits a picture; clip and blip2 can.")
    parser.add_argument("given", nargs="+", metavar="TEXT", help="one picture, and then the texts")
    parser.usage = "%(prog)s IMAGE TEXT [TEXT ...] [options]"
    _add_model_options(parser, "clip")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_intermixed_args(arguments)
    if len(options.given) < 2:
        parser.error("a picture and at least one text are needed")
    image, *texts = options.given
    scores = _load(options).score(image, texts)
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


def evaluate(arguments: list[str]) -> int:
    """Score a folder of questions with known answers."""
    parser = _parser("evaluate", "Score a folder with an items.jsonl, or a captions.jsonl for models that score.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="holds the questions and the pictures they name")
    _add_model_options(parser)
    _add_prompt_options(parser)
    parser.add_argument("--max-new-tokens", type=_positive, metavar="N", help="the longest answer, in tokens")
    parser.add_argument("--limit", type=_positive, metavar="N", help="N items evenly over the kinds, always the same")
    parser.add_argument("--pointing", action="store_true", help="measure heatmaps on the items with a phrase and boxes")
    parser.add_argument("--method", nargs="+", metavar="NAME", help="with --pointing: heatmap methods, or all")
    parser.add_argument(
        "--choose",
        action="store_true",
        help="with --pointing: choose the checkpoint's default map on one half of the items, score it on the other",
    )
    parser.add_argument("--grounding", action="store_true", help="measure the badges of the answers")
    parser.add_argument(
        "--fit",
        action="store_true",
        help="with --grounding: fit the badge on one half of the items, score it on the other",
    )
    parser.add_argument("--curve", type=Path, metavar="OUT.png", help="with --grounding: draw the reliability curve")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")
    parser.add_argument("--answers", type=Path, metavar="OUT", help="write every prediction to this file, a line each")
    options = parser.parse_args(arguments)
    if (options.method or options.choose) and not options.pointing:
        parser.error("--method and --choose go with --pointing")
    if (options.fit or options.curve) and not options.grounding:
        parser.error("--fit and --curve go with --grounding")

    from vlm_demo.evaluation import items as questions
    from vlm_demo.evaluation import retrieval, run

    if (options.folder / retrieval.FILE).is_file():
        return _retrieve(options)
    items, skipped = questions.read(options.folder)
    chosen = questions.select(items, options.limit, options.pointing)
    for path in filter(None, (options.json, options.answers, options.curve)):
        _check_writable(path)
    if any(options.ocr if item.ocr is None else item.ocr for item in chosen):
        _require_ocr()
    pipe = _load(options)
    chosen = [_told(item, options) for item in chosen]
    if options.pointing:
        return _point(pipe, chosen, skipped, options)
    if options.grounding:
        return _ground(pipe, chosen, skipped, options)
    answers = options.answers.open("w", encoding="utf-8") if options.answers else None
    try:
        report = run.evaluate(
            pipe,
            options.folder,
            chosen,
            skipped,
            ocr=options.ocr,
            evidence_only=options.evidence_only,
            max_new_tokens=options.max_new_tokens,
            answers=answers,
        )
    finally:
        if answers:
            answers.close()
    return _report(report, pipe, options)


def _report(found: Any, pipe: Pipeline, options: argparse.Namespace) -> int:
    """Print what was found, and write it where asked for."""
    found.settings |= {
        "folder": str(options.folder),
        "model": options.model,
        "precision": pipe.precision,
        "ocr": options.ocr,
        "evidence_only": options.evidence_only,
        "max_new_tokens": options.max_new_tokens,
        "limit": options.limit,
        "pointing": options.pointing,
    }
    print(found.table())
    if options.json:
        options.json.write_text(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _told(item: Any, options: argparse.Namespace) -> Any:
    """The item with the run's settings where it has none of its own."""
    ocr = options.ocr if item.ocr is None else item.ocr
    evidence_only = options.evidence_only if item.evidence_only is None else item.evidence_only
    return dataclasses.replace(item, ocr=ocr, evidence_only=evidence_only)


def _point(pipe: Pipeline, items: list[Any], skipped: list[Any], options: argparse.Namespace) -> int:
    """Measure heatmap methods on pointing items."""
    from vlm_demo.evaluation import choice, maps
    from vlm_demo.explain import heatmap, methods

    names = list(methods.BY_NAME) if options.method == ["all"] else options.method
    if options.choose:
        settings, found = choice.choose(pipe, options.folder, items, names)
        file = heatmap.write_settings(pipe.folder, settings)
        print(f"{file} now names {settings.method} as the default.", file=sys.stderr)
    else:
        found = maps.compare(pipe, options.folder, items, skipped, names=names)
    return _report(found, pipe, options)


def _ground(pipe: Pipeline, items: list[Any], skipped: list[Any], options: argparse.Namespace) -> int:
    """Measure badges, after fitting them where that is asked for."""
    from vlm_demo.evaluation import badges
    from vlm_demo.explain.calibration import read_calibration, write_calibration

    told = badges.collect(pipe, options.folder, items, skipped)
    calibration = read_calibration(pipe.folder)
    if options.fit:
        calibration = badges.calibrate(told[::2])
        file = write_calibration(pipe.folder, calibration)
        print(f"{file} now holds what the evidence is worth.", file=sys.stderr)
        told = told[1::2]
    found = badges.judge(told, calibration)
    found.skipped = skipped
    if options.curve and found.scores:
        found.draw(options.curve)
    return _report(found, pipe, options)


def _retrieve(options: argparse.Namespace) -> int:
    from vlm_demo.evaluation import retrieval

    lines = retrieval.read(options.folder)
    if options.json:
        _check_writable(options.json)
    found = retrieval.retrieve(_load(options), options.folder, lines)
    print(found.table())
    if options.json:
        options.json.write_text(json.dumps(found.as_dict(), indent=2) + "\n", encoding="utf-8")
    return 0


def check(arguments: list[str]) -> int:
    """Report on the environment; exit code 0 if the model can answer."""
    parser = _parser("check", "Report what is installed, and whether the model loads and answers.")
    _add_model_options(parser)
    options = parser.parse_args(arguments)

    from vlm_demo import check as environment

    return 0 if environment.report(lambda: _load(options), options.model) else 1


def train(arguments: list[str]) -> int:
    """Hand every argument to the training commands."""
    from vlm_demo.training.cli import main as train_main

    return train_main(arguments) or 0


def draw(arguments: list[str]) -> int:
    """Hand every argument to the drawing of held-out pictures."""
    from vlm_demo.synthetic.export import main as draw_main

    return draw_main(arguments)


def bridges(arguments: list[str]) -> int:
    """Hand every argument to the comparison of the embedded families."""
    from vlm_demo.evaluation.bridges import main as bridges_main

    return bridges_main(arguments)


def bench(arguments: list[str]) -> int:
    """Hand every argument to the timing of this pipeline beside plain transformers."""
    from vlm_demo.bench.cli import main as bench_main

    return bench_main(arguments)


COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "ask": (ask, "ask a question about a picture"),
    "explain": (explain, "see where the model looks for a given answer"),
    "check": (check, "report the environment: what works, what is missing"),
    "score": (score, "tell how well each of some texts fits a picture"),
    "evaluate": (evaluate, "score a folder of questions with known answers"),
    "draw": (draw, "draw held-out pictures with questions, for evaluate"),
    "train": (train, "train an embedded model"),
    "bridges": (bridges, "compare the embedded families in one table"),
    "bench": (bench, "time this pipeline beside plain transformers, on random weights"),
}


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"python -m vlm_demo {command}", description=description)


def _add_model_options(parser: argparse.ArgumentParser, model: str = "llava") -> None:
    parser.add_argument(
        "--model", default=model, metavar="NAME|FOLDER|HUB_ID", help="an embedded model, a folder, or a hub id"
    )
    parser.add_argument("--quantize", choices=PRECISIONS, default="none", help="load the weights in 8 or 4 bit")
    parser.add_argument("--device", metavar="DEVICE", help="cpu, cuda, ...; default: the best there is")
    trust.add_flags(parser)


def _add_prompt_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ocr", action="store_true", help="give the model the text that Tesseract reads")
    parser.add_argument("--evidence-only", action="store_true", help="tell it to say unknown where it can't see")


def _add_question_options(parser: argparse.ArgumentParser) -> None:
    _add_prompt_options(parser)
    parser.add_argument("--heatmap", type=Path, metavar="OUT.png", help="write where the model looked")
    parser.add_argument("--word", metavar="W", help="for which word or words; default: the first content word")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the answer")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _load(options: argparse.Namespace) -> Pipeline:
    """The pipeline that the options ask for; on a terminal, one line on stderr says what is being waited for."""
    shown = ""
    allowed = trust.of(options)
    trust.warn(allowed, options.model)

    def progress(fraction: float | None, text: str) -> None:
        nonlocal shown
        said = text if fraction is None else f"{text} {fraction:.0%}"
        print(f"\r{said:<{len(shown)}}", end="", file=sys.stderr, flush=True)
        shown = said

    tell = progress if sys.stderr.isatty() else None
    if tell:
        tell(None, f"Loading {options.model}")  # importing torch alone takes seconds
    try:
        from vlm_demo import Pipeline

        return Pipeline.from_pretrained(
            options.model, quantize=options.quantize, device=options.device, progress=tell, trust=allowed
        )
    finally:
        if shown:
            print("\r" + " " * len(shown) + "\r", end="", file=sys.stderr, flush=True)


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
    _check_writable(path)


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise VlmDemoError(f"{path} is a folder; name a file.")
    if not path.parent.is_dir():
        raise VlmDemoError(f"There is no folder {path.parent} to write {path.name} into; make it first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise VlmDemoError(f"{path} can't be written; choose another place.")


def _require_ocr() -> None:
    from vlm_demo.stages.ocr import available

    missing = available()
    if missing:
        raise OcrUnavailable(missing)
