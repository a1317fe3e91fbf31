"""Start the web page: flags → model and page → serve. Hugging Face Spaces starts this file too."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import secrets
import shutil
import signal
import sys
import tempfile

AUTH_VARIABLE = "VLM_DEMO_AUTH"
NO_LINK = "No public link could be made (the tunnel cannot be reached from here); serving locally only."
BIGGEST_UPLOAD = "256mb"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The flags; ends the program with one sentence where they make no sense."""
    parser = argparse.ArgumentParser(description="Chat with a picture in the browser, and see inside the answer.")
    parser.add_argument("--model", default="llava", metavar="NAME|FOLDER|HUB_ID", help="default: llava, embedded here")
    parser.add_argument("--quantize", choices=("none", "8bit", "4bit"), default="none", help="default: none")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps; default: the best there is")
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=os.environ.get("GRADIO_SERVER_PORT", "7860"), help="default: 7860")
    parser.add_argument("--share", action="store_true", help="also serve on a public link, behind a password")
    parser.add_argument(
        "--auth",
        metavar="USER:PASSWORD",
        help=f"ask visitors for this; better set {AUTH_VARIABLE} instead, for arguments can be seen by other users",
    )
    parser.add_argument("--no-auth", action="store_true", help="with --share: no password, the link is enough")
    flags = parser.parse_args(arguments)
    flags.auth = None if flags.no_auth else flags.auth or os.environ.get(AUTH_VARIABLE)
    if flags.auth and not all(flags.auth.partition(":")):
        parser.error("--auth needs the form USER:PASSWORD")
    return flags


def main() -> int:
    flags = parse()
    made = flags.share and not flags.auth and not flags.no_auth
    if made:
        flags.auth = f"guest:{secrets.token_urlsafe(9)}"
    # Uploads lie in a folder that only this process's user can read, and that goes with the process.
    uploads = tempfile.mkdtemp(prefix="vlm_demo_")
    os.environ.update(GRADIO_TEMP_DIR=uploads, GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        return serve(flags, made)
    except KeyboardInterrupt:
        return 0
    finally:
        shutil.rmtree(uploads, ignore_errors=True)


def serve(flags: argparse.Namespace, made_password: bool) -> int:
    """Load, launch, and stay until stopped; returns the exit status."""
    from vlm_demo.errors import VlmDemoError
    from vlm_demo.ui import start

    print(f"Loading {flags.model} ...", flush=True)
    try:
        page = start.page(flags.model, flags.quantize, flags.device, waiting if sys.stderr.isatty() else None)
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
            max_file_size=BIGGEST_UPLOAD,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            **start.launch_options(),
        )
    except OSError:
        print(f"Port {flags.port} on {flags.host} cannot be used: choose another with --port.", file=sys.stderr)
        return 1
    print(f"Ready: {url}", flush=True)
    if made_password:
        print("Sign in as {} with the password {}".format(*flags.auth.split(":", 1)), flush=True)
    if flags.share:
        print("Making a public link ...", flush=True)
        link = tunnel(flags)
        print(f"Public link: {link}" if link else NO_LINK, flush=True)
    page.block_thread()
    return 0


def waiting(fraction: float | None, text: str) -> None:
    """One line on the terminal that says what is being waited for, such as a download."""
    said = text if fraction is None else f"{text} ({fraction:.0%})"
    print(f"\r{said}\033[K", end="\n" if fraction == 1 else "", file=sys.stderr, flush=True)


def tunnel(flags: argparse.Namespace) -> str | None:
    """A public link to the server that runs already, or None: Gradio's own way would keep it waiting for the tunnel."""
    from gradio import networking

    host = "127.0.0.1" if flags.host in ("0.0.0.0", "::") else flags.host
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return networking.setup_tunnel(host, flags.port, secrets.token_urlsafe(32), None, None)
    except Exception:  # no network, no tunnel program, refused: to the person it is one and the same
        return None


if __name__ == "__main__":
    sys.exit(main())
