"""App: flags → model and page → serve."""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import importlib.util
import io
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlm_demo import trust
from vlm_demo.engines import connection
from vlm_demo.engines.scheduler import BATCH
from vlm_demo.errors import BadSetting
from vlm_demo.images import remote_pictures

if TYPE_CHECKING:
    from gradio import Blocks
    from starlette.routing import BaseRoute

    from vlm_demo.engines.registry import ModelRegistry

AUTH_VARIABLE = "VLM_DEMO_AUTH"
OPERATOR_VARIABLE = "VLM_DEMO_OPERATOR_KEY"
DEFAULT_MODEL = "llava"
SHORTEST_KEY = 12  # characters
PATIENCE = 60.0  # seconds that answers have to end after a signal
TEMPORARY = "vlm_demo_"  # the temporary folder's name begins so; the process's id follows
# What ends the program besides Ctrl-C: a service manager, and a terminal that is closed (not known to Windows).
ENDINGS = [ending for ending in signal.Signals if ending.name in ("SIGTERM", "SIGHUP")]
NO_LINK = "No public link could be made (the tunnel cannot be reached from here); serving locally only."
BIGGEST_UPLOAD = "256mb"
OTHER_THREADS = 32  # of the page, besides those of answers
# Of the events in its queue Gradio would compute some that nobody sees, after each.
NO_STATISTICS = {"GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9), "GRADIO_ANALYTICS_MAX_EVENTS": "1"}
QUEUE_PAUSES = {"sleep_when_free": 0.02, "progress_update_sleep_when_free": 0.2}  # seconds between looks at the queue
SSR_VARIABLE = "GRADIO_SSR_MODE"
SPACE_VARIABLE = "SPACE_ID"
MCP_INSTALL = 'pip install "gradio[mcp]"'


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The flags; ends the program with one sentence where they make no sense."""
    parser = argparse.ArgumentParser(description="Chat with a picture in the browser, and see inside the answer.")
    parser.add_argument("--model", metavar="NAME|FOLDER|HUB_ID", help="default: llava, embedded here")
    parser.add_argument("--quantize", choices=("none", "8bit", "4bit"), default="none", help="default: none")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps; default: cuda if there is one, else cpu")
    parser.add_argument(
        "--batch", type=at_least_one, default=BATCH, metavar="N", help="answers computed together; default: %(default)s"
    )
    parser.add_argument(connection.ENGINE, metavar="URL", help=connection.ENGINE_HELP)
    parser.add_argument(connection.ENGINE_MODEL, metavar="NAME", help=connection.ENGINE_MODEL_HELP)
    parser.add_argument(connection.EXPLAIN_WITH, metavar="CHECKPOINT", help=connection.EXPLAIN_WITH_HELP)
    trust.add_flags(parser)
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), help="default: 127.0.0.1")
    parser.add_argument("--port", type=port, default=os.environ.get("GRADIO_SERVER_PORT", "7860"), help="default: 7860")
    parser.add_argument(
        "--root-path",
        default=os.environ.get("GRADIO_ROOT_PATH", ""),
        metavar="/PATH",
        help="the path below which a proxy serves the page",
    )
    parser.add_argument("--share", action="store_true", help="also serve on a public link, behind a password")
    parser.add_argument(
        "--ocr-language",
        default="eng",
        metavar="NAME[+NAME]",
        help="of text in pictures, as Tesseract calls it, such as deu or eng+fra; default: eng",
    )
    parser.add_argument(remote_pictures.ALLOW, default="", metavar="HOST[,HOST]", help=remote_pictures.ALLOW_HELP)
    parser.add_argument("--mcp", action="store_true", help="serve the model's tools to MCP clients too, at /mcp")
    password = parser.add_mutually_exclusive_group()
    password.add_argument(
        "--auth",
        metavar="USER:PASSWORD",
        help=f"ask visitors for this; better set {AUTH_VARIABLE} instead, for arguments can be seen by other users",
    )
    password.add_argument("--no-auth", action="store_true", help="with --share: no password, the link is enough")
    flags = parser.parse_args(arguments)
    try:
        flags.server = connection.connection_of(flags.engine, flags.engine_model, flags.explain_with)
    except BadSetting as error:
        parser.error(str(error))
    if flags.server and flags.model:
        parser.error("--engine answers in place of --model: give one of them")
    flags.model = flags.model or DEFAULT_MODEL
    source = "--auth"
    if flags.auth is None and not flags.no_auth:
        source, flags.auth = AUTH_VARIABLE, os.environ.get(AUTH_VARIABLE) or None
    if flags.auth is not None and not all(flags.auth.partition(":")):
        parser.error(f"{source} needs the form USER:PASSWORD")
    flags.operator_key = os.environ.get(OPERATOR_VARIABLE) or None
    if flags.operator_key is not None and len(flags.operator_key) < SHORTEST_KEY:
        parser.error(f"{OPERATOR_VARIABLE} is too short: choose a key of at least {SHORTEST_KEY} characters")
    if flags.mcp and importlib.util.find_spec("mcp") is None:
        parser.error(f"--mcp needs a package more: {MCP_INSTALL}")
    return flags


def at_least_one(text: str) -> int:
    """The type of ``--batch``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of answers: choose one from 1 on")
    return int(text)


def port(text: str) -> int:
    """The type of ``--port``."""
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: choose a number from 1 to 65535")
    return number


def main() -> int:
    """Serve until stopped; returns the exit status."""
    flags = parse()
    made_password = flags.share and not flags.auth and not flags.no_auth
    if made_password:
        flags.auth = f"guest:{secrets.token_urlsafe(9)}"
    # What people upload lies in a folder that only this process's user can read, and that goes with the process: their
    # files in a subfolder, as Gradio serves what lies there; those that are read for text next to it.
    temporary = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{os.getpid()}_"))
    uploads = temporary / "uploads"
    uploads.mkdir()
    os.environ.update(VLM_DEMO_TEMP_DIR=str(temporary), GRADIO_TEMP_DIR=str(uploads))
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", **NO_STATISTICS)
    os.environ.update(past_proxies(flags.host))
    for ending in ENDINGS:
        if signal.getsignal(ending) != signal.SIG_IGN:  # nohup asks not to be ended by a closed terminal
            signal.signal(ending, leave)
    try:
        remove_stale(temporary)
        # Nothing that is imported is thrown away: looking for it takes a fifth of the time until the page is ready.
        gc.disable()
        return serve(flags, made_password)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "vlm_demo":
            raise
        print(f"The package {error.name} is not installed; `make demo` sets everything up.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def leave(*_: object) -> None:
    """End like a program that has finished, so that the uploads go; a second signal must not interrupt that."""
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    sys.exit(0)


def past_proxies(host: str) -> dict[str, str]:
    """Environment variables that keep this machine's requests to itself, such as Gradio's at its start, off proxies."""
    existing = [os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")]
    names = ",".join([*existing, "127.0.0.1", "localhost", host.strip("[]")]).split(",")
    listed = ",".join(dict.fromkeys(name.strip() for name in names if name.strip()))
    return {"no_proxy": listed, "NO_PROXY": listed}


def remove_stale(current: Path) -> None:
    """Delete the temporary folders next to ``current`` that killed runs of the same user left."""
    import psutil

    for folder in current.parent.glob(f"{TEMPORARY}*"):
        process = re.match(rf"{TEMPORARY}(\d{{1,9}})_", folder.name)
        if process is None or psutil.pid_exists(int(process[1])):
            continue
        with contextlib.suppress(OSError):  # gone meanwhile
            if folder.lstat().st_uid == current.stat().st_uid:
                shutil.rmtree(folder, ignore_errors=True)


def serve(flags: argparse.Namespace, made_password: bool) -> int:
    """Load, launch, and stay until stopped; returns the exit status."""
    problem = ssr_refusal() or refusal(flags.host, flags.port)
    if problem:
        print(problem, file=sys.stderr)
        return 1
    from vlm_demo.contracts import OcrSettings
    from vlm_demo.errors import VlmDemoError
    from vlm_demo.ui import start

    allowed = trust.of(flags)
    loaded = flags.server.explain_with if flags.server else flags.model
    if loaded:
        trust.warn(allowed, loaded)
    print(f"Loading {loaded} ..." if loaded else "Asking the server ...", flush=True)
    try:
        progress = waiting if sys.stderr.isatty() else None
        announced = start.announcement(loaded) if loaded else ""
        if announced:
            print(announced, flush=True)
        settings = OcrSettings(flags.ocr_language)
        web = remote_pictures.RemotePictures(remote_pictures.hosts_of(flags.allow_image_host))
        where = flags.quantize, flags.device, progress, allowed, settings
        hosts = tuple(web.hosts)
        service = (
            start.served(flags.server, *where, hosts)
            if flags.server
            else start.service(flags.model, *where, flags.batch)
        )
        page = start.page(service, web, settings)
        app_kwargs = add_apis(page, service, flags)
    except VlmDemoError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        _, url, _ = page.launch(
            server_name=flags.host,
            server_port=flags.port,
            share=False,
            auth=tuple(flags.auth.split(":", 1)) if flags.auth else None,
            auth_message="vlm_demo: name and password come from whoever gave you this link.",
            root_path=flags.root_path or None,
            max_file_size=BIGGEST_UPLOAD,
            max_threads=OTHER_THREADS + max(flags.batch, BATCH),
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            app_kwargs=app_kwargs,
            mcp_server=False,  # Gradio's own would ask for no password, and GRADIO_MCP_SERVER could start it
            ssr_mode=False,  # its Node server trusts the Host header of a request (CVE-2026-134825)
            **start.launch_options(),
        )
    except OSError:
        print(f"Port {flags.port} on {flags.host} cannot be used: choose another with --port.", file=sys.stderr)
        return 1
    except Exception as error:  # Gradio raises many kinds
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"The page cannot be served on {flags.host}, port {flags.port}: {message}", file=sys.stderr)
        return 1
    if progress and announced:
        waiting(None, "")  # the model is still being put together, and its line is not ended
    print(f"Ready: {url}", flush=True)
    gc.freeze()
    gc.enable()
    if made_password:
        print("Sign in as {} with the password {}".format(*flags.auth.split(":", 1)), flush=True)
    if flags.share:
        print("Making a public link ...", flush=True)
        link = tunnel(flags)
        print(f"Public link: {link}" if link else NO_LINK, flush=True)
    try:
        page.block_thread()
    except SystemExit:
        signal.signal(signal.SIGTERM, leave)  # a second one ends at once
        drain(page, service)
        raise
    return 0


def drain(page: Blocks, service: ModelRegistry, patience: float = PATIENCE) -> None:
    """Let no question begin any more, and have those that have begun answered, ``patience`` seconds at most."""
    print("Ending: what has been asked is answered still.", flush=True)
    left = service.close(patience)
    page.close(verbose=False)  # waits until the last words have been sent
    print(f"Ended; {left} answers were not finished." if left else "Ended.", flush=True)


def add_apis(page: Blocks, service: ModelRegistry, flags: argparse.Namespace) -> dict[str, Any]:
    """Add the APIs to the page, behind its password: Gradio's endpoints here, the OpenAI-compatible one and, if wished,
    MCP in the returned keyword arguments of Gradio's app."""
    from vlm_demo.api import endpoints, full_disk
    from vlm_demo.api.access import Access, Places
    from vlm_demo.api.image_hosts import ImageHosts
    from vlm_demo.api.openai_server import OpenAiServer
    from vlm_demo.ui.source import source_page

    web = remote_pictures.RemotePictures(remote_pictures.hosts_of(flags.allow_image_host))
    access = Access(flags.auth.split(":", 1)[1] if flags.auth else None, ImageHosts(web))
    places = Places(service)
    endpoints.add(page, service, access.hosts, places)
    for name, seconds in QUEUE_PAUSES.items():
        if hasattr(page._queue, name):
            setattr(page._queue, name, seconds)
    openai_server = OpenAiServer(service, access, places)
    routes: list[BaseRoute] = [*openai_server.routes(), source_page.route()]
    if flags.operator_key:
        from vlm_demo.api.operator_key import OperatorKey

        routes.append(OperatorKey(service, flags.operator_key).route())
    app_kwargs: dict[str, Any] = {"routes": routes, "exception_handlers": {OSError: full_disk.no_room}}
    if not flags.mcp:
        return app_kwargs
    from vlm_demo.api.mcp_server import McpServer

    server = McpServer(service, access, places, openai_server.bodies)
    return app_kwargs | {"routes": [*routes, server.route()], "lifespan": server.running}


def ssr_refusal() -> str | None:
    """One sentence if the environment asks for Gradio's server-side rendering, which is never used here, or None. A
    Hugging Face Space asks for it whatever the page is, and is passed over."""
    if SPACE_VARIABLE in os.environ:
        return None
    if os.environ.get(SSR_VARIABLE, "").strip().lower() in ("true", "1", "yes", "on"):
        return f"{SSR_VARIABLE} asks for server-side rendering, which trusts forged Host headers: unset it."
    return None


def refusal(host: str, port: int) -> str | None:
    """One sentence if this machine cannot serve there, or None. Gradio would fail after loading, and blame the port."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:  # the latter from names that no host can have
        if getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES):
            return f"Port {port} on {host} cannot be used: choose another with --port."
        return f"This machine has no address {host}: name one of its own with --host, such as 127.0.0.1."
    return None


def waiting(fraction: float | None, text: str) -> None:
    """One line on the terminal about what is being waited for, such as a download."""
    line = text if fraction is None else f"{text} ({fraction:.0%})"
    print(f"\r{line}\033[K", end="\n" if fraction == 1 else "", file=sys.stderr, flush=True)


def tunnel(flags: argparse.Namespace) -> str | None:
    """A public link to the server that runs already, or None: Gradio's own way would keep it waiting for the tunnel."""
    from gradio import networking

    host = "127.0.0.1" if flags.host in ("0.0.0.0", "::") else flags.host
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            return networking.setup_tunnel(host, flags.port, secrets.token_urlsafe(32), None, None)
    except Exception:  # no network, no tunnel program, refused: to the person it is one and the same
        return None
