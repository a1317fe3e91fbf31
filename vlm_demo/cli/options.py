"""Options: the command-line options that several commands share, and the loading of what they name.

Nothing heavy is imported before the arguments have been understood.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vlm_demo import trust
from vlm_demo.engines import connection
from vlm_demo.engines.connection import Connection
from vlm_demo.errors import OcrUnavailable, VlmDemoError
from vlm_demo.images import remote_pictures
from vlm_demo.trust import Trust

if TYPE_CHECKING:
    from vlm_demo.contracts import OcrSettings
    from vlm_demo.contracts.engine import Engine
    from vlm_demo.engines.local import LocalEngine
    from vlm_demo.engines.registry import Progress
    from vlm_demo.engines.remote import RemoteEngine
    from vlm_demo.images.open import Source

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
Precision = Literal["none", "8bit", "4bit"]

# Which model, and how it is loaded.
Model = Annotated[str, typer.Option(metavar="NAME|FOLDER|HUB_ID", help="an embedded model, a folder, or a hub id")]
Quantize = Annotated[Precision, typer.Option(help="load the weights in 8 or 4 bit")]
Device = Annotated[str | None, typer.Option(metavar="DEVICE", help="cpu, cuda, ...; default: cuda if there is one")]
TrustRemoteCode = Annotated[bool, typer.Option(trust.REMOTE_CODE, help=trust.REMOTE_CODE_HELP)]
AllowPickle = Annotated[bool, typer.Option(trust.PICKLE, help=trust.PICKLE_HELP)]

# A server in the model's place.
ServerAddress = Annotated[str | None, typer.Option(connection.ENGINE, metavar="URL", help=connection.ENGINE_HELP)]
ServerModel = Annotated[
    str | None, typer.Option(connection.ENGINE_MODEL, metavar="NAME", help=connection.ENGINE_MODEL_HELP)
]
ExplainWith = Annotated[
    str | None, typer.Option(connection.EXPLAIN_WITH, metavar="CHECKPOINT", help=connection.EXPLAIN_WITH_HELP)
]

# What may be fetched from the web.
AllowImageHost = Annotated[
    str, typer.Option(remote_pictures.ALLOW, metavar="HOST[,HOST]", help=remote_pictures.ALLOW_HELP)
]

# What goes into the prompt with the question.
Ocr = Annotated[bool, typer.Option("--ocr", help="give the model the text that is read in the picture")]
OcrLanguage = Annotated[
    str, typer.Option(metavar="NAME[+NAME]", help="with --ocr: as Tesseract calls it, such as deu or eng+fra")
]
OcrEngine = Annotated[Literal["tesseract", "rapidocr"], typer.Option(help="with --ocr: what reads the text")]
OcrConfidence = Annotated[
    float,
    typer.Option(min=0, max=100, metavar="PERCENT", help="with --ocr: leave out words that it is less sure of"),
]
PageNumber = Annotated[int | None, typer.Option("--page", min=1, metavar="N", help="page of a PDF, or frame")]
EvidenceOnly = Annotated[bool, typer.Option("--evidence-only", help="tell it to say unknown where it can't see")]
MaxNewTokens = Annotated[int | None, typer.Option(min=1, metavar="N", help="the longest answer, in tokens")]

# What is written of an answer.
Heatmap = Annotated[Path | None, typer.Option(metavar="OUT.png", help="write where the model looked")]
Word = Annotated[str | None, typer.Option(metavar="W", help="for which word or words; default: the first content word")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object instead of the answer")]

Threads = Annotated[int, typer.Option(min=1, metavar="N", help="CPU threads")]


@dataclass(frozen=True)
class ModelOptions:
    """The options about the model: a name, folder or hub id, how it is loaded, from which hosts pictures may be
    fetched, as ``images.remote.hosts_of`` parses them, and which server answers in its place, if one does."""

    model: str
    quantize: Precision
    device: str | None
    trust: Trust
    image_hosts: str = ""
    server: Connection | None = None


def server_of(context: typer.Context, address: str | None, model: str | None, explain: str | None) -> Connection | None:
    """The server that the flags name, None without one. A command that is given ``--model`` too ends here.

    Raises:
        BadSetting: as ``connection_of`` does.
    """
    server = connection.connection_of(address, model, explain)
    source = context.get_parameter_source("model")
    if server and source and source.name != "DEFAULT":
        context.fail(f"{connection.ENGINE} answers in place of --model: give one of them")
    return server


def engine(options: ModelOptions) -> Engine:
    """The engine that the options name: a server's model, or one that is loaded here."""
    return connect(options.server, options) if options.server else load(options)


def load(options: ModelOptions) -> LocalEngine:
    """The local engine that the options name; on a terminal, one line on stderr shows the progress of loading."""
    hosts = remote_pictures.hosts_of(options.image_hosts)
    with _waiting(options) as report:
        from vlm_demo.engines import local

        return local.load(options.model, options.quantize, options.device, report, options.trust, hosts)


def connect(server: Connection, options: ModelOptions) -> RemoteEngine:
    """The engine of a server. The options say how the checkpoint that explains its answers is loaded; their model is
    ignored."""
    hosts = remote_pictures.hosts_of(options.image_hosts)
    with _waiting(replace(options, model=server.explain_with or "")) as report:
        from vlm_demo.engines.remote import connect

        return connect(server, options.quantize, options.device, report, options.trust, hosts)


@contextmanager
def _waiting(options: ModelOptions) -> Iterator[Progress | None]:
    """While a model is loaded: the callback that prints its progress, None without a terminal."""
    shown = ""
    trust.warn(options.trust, options.model)

    def progress(fraction: float | None, text: str) -> None:
        nonlocal shown
        line = text if fraction is None else f"{text} {fraction:.0%}"
        print(f"\r{line:<{len(shown)}}", end="", file=sys.stderr, flush=True)
        shown = line

    report = progress if sys.stderr.isatty() else None
    if report:
        report(None, f"Loading {options.model}" if options.model else "Asking the server")  # torch alone takes seconds
    try:
        from vlm_demo.engines import local

        announced = local.announcement(options.model) if options.model else ""
        if announced:
            print(f"\r{announced:<{len(shown)}}", file=sys.stderr, flush=True)
        yield report
    finally:
        if shown:
            print("\r" + " " * len(shown) + "\r", end="", file=sys.stderr, flush=True)


def paged(images: Sequence[str | Path], page: int | None) -> tuple[Source, ...]:
    """The pictures, or that page or frame of each."""
    from vlm_demo.images.open import Page

    return tuple(image if page is None else Page(image, page) for image in images)


def check_heatmap(path: Path | None) -> None:
    """Check at once, not after a minute's work, that a heatmap can be written there.

    Raises:
        VlmDemoError: says why.
    """
    if path is None:
        return
    if path.suffix.lower() not in PICTURE_ENDINGS:
        raise VlmDemoError(f"{path} is no picture's name; end it in {', '.join(PICTURE_ENDINGS)}.")
    check_writable(path)


def check_writable(path: Path) -> None:
    """Check at once, not after a minute's work, that a file can be written there.

    Raises:
        VlmDemoError: says why.
    """
    if path.is_dir():
        raise VlmDemoError(f"{path} is a folder; name a file.")
    if not path.parent.is_dir():
        raise VlmDemoError(f"There is no folder {path.parent} to write {path.name} into; make it first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise VlmDemoError(f"{path} can't be written; choose another place.")


def ocr_settings(wanted: bool, language: str, engine: str, confidence: float) -> OcrSettings:
    """How text is to be read; where it is ``wanted``, checked at once, not after the model has been loaded.

    Raises:
        OcrUnavailable: says what is missing; of languages, those that are installed.
    """
    from vlm_demo.contracts import DEFAULT_OCR, OcrSettings

    settings = OcrSettings(language, engine, confidence)
    if wanted and settings != DEFAULT_OCR:
        require_ocr(settings)
    return settings


def require_ocr(settings: OcrSettings | None = None) -> None:
    """Check at once that text can be read here.

    Raises:
        OcrUnavailable: says what is missing.
    """
    from vlm_demo.contracts import DEFAULT_OCR
    from vlm_demo.engines.local import ocr_missing

    missing = ocr_missing(settings or DEFAULT_OCR)
    if missing:
        raise OcrUnavailable(missing)
