"""Command line: the words typed → one of the commands → an exit code.

A command is a file of this folder, imported when it is called; nothing heavy is imported before its options have been
understood.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from vlm_demo.errors import VlmDemoError

PROGRAM = "python -m vlm_demo"
# A command's name → what it does. It is the `app` of the file of that name, with an underscore for a hyphen.
COMMANDS = {
    "ask": "ask a question about a picture",
    "check": "ask, and say what may be wrong with the answer, why, and what to do",
    "catalogue": "tell what a picture of some size costs each model: image tokens, context, memory",
    "fields": "read the fields of a document by a JSON schema",
    "explain": "see where the model looks for a given answer",
    "doctor": "report the environment: what works, what is missing",
    "score": "tell how well each of some texts fits a picture",
    "evaluate": "score a folder of questions with known answers",
    "draw": "draw held-out pictures with questions, for evaluate",
    "train": "train an embedded model, and prepare what its training reads",
    "train-shards": "draw pictures with questions once, for training",
    "probe": "measure what the vision encoders alone tell apart",
    "bridges": "compare the embedded families in one table",
    "experiment": "answer a common question by measuring: why confident but wrong, can it replace OCR",
    "export": "copy an embedded model as an ordinary checkpoint",
    "serve": "serve a model from several processes, for programs, with Ray",
    "bench": "time this pipeline against plain transformers, on random weights",
}


class Commands(TyperGroup):
    """The commands of the table above; a file is imported only when its command is called.

    The click that Typer builds on is private to it, so the types of these methods' arguments have no public name.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, or None."""
        if cmd_name not in COMMANDS:
            return None
        return get_command(import_module(f"vlm_demo.cli.{cmd_name.replace('-', '_')}").app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


TOP = Commands(
    help="Ask questions about pictures, and see how the answer was made.",
    epilog=f"Each command explains itself: {PROGRAM} COMMAND --help",
    context_settings={"help_option_names": ["-h", "--help"]},
    options_metavar=None,
    subcommand_metavar="COMMAND ...",
    rich_markup_mode=None,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 done, 2 an error printed as one sentence, 130 interrupted.

    Raises:
        SystemExit: with 0 after help, with 2 where the arguments make no sense.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with TOP.make_context(PROGRAM, arguments) as context:
            return TOP.invoke(context) or 0
    except typer.Exit as end:
        raise SystemExit(end.exit_code) from None
    except typer.TyperException as error:
        # What was typed makes no sense; such an error can show how the command is used, too.
        if show := getattr(error, "show", None):
            show()
        else:
            print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
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
