"""The app as a visitor sees it: ``app.py`` in a separate process, and a real headless Chromium."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, sync_playwright

from tests.kit.browsing import PATIENCE
from tests.kit.tiny import tiny_llava
from vlm_demo.models import loading

ROOT = Path(__file__).parents[2]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@dataclass
class App:
    """A running app."""

    url: str
    process: subprocess.Popen
    log: Path

    def logged(self) -> str:
        return self.log.read_text()


def start(log: Path, *flags: str, **environment: str) -> App:
    """Start app.py on a free port and wait until it serves."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port), *flags]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=out, env=os.environ | {"TMPDIR": str(log.parent)} | environment
        )
    deadline = time.monotonic() + 400
    while "Ready:" not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"the app did not start:\n{log.read_text()}")
        time.sleep(0.2)
    return App(f"http://127.0.0.1:{port}", process, log)


def stop(app: App) -> None:
    app.process.terminate()
    try:
        app.process.wait(20)
    except subprocess.TimeoutExpired:
        app.process.kill()
        app.process.wait()


@pytest.fixture(scope="session")
def talkative(tmp_path_factory) -> Path:
    """A tiny checkpoint with random weights that goes on talking for thousands of tokens."""
    folder = tiny_llava(tmp_path_factory.mktemp("talkative"), context=6000)
    settings = folder / "generation_config.json"
    # Without repeating itself, for what repeats itself is cut, and with an end token that it does not have.
    overrides = {"max_new_tokens": 4000, "eos_token_id": 10**6, "no_repeat_ngram_size": 3}
    settings.write_text(json.dumps(json.loads(settings.read_text()) | overrides))
    return folder


@pytest.fixture(scope="session")
def app(tmp_path_factory, talkative) -> Iterator[App]:
    """The app with the embedded model, as ``make demo`` serves it."""
    model = str(talkative)
    if "llava" in loading.embedded_names():
        model = "llava"
        loading.checkpoint(model)  # put together before, so that no test waits for it
    # Offline, so that no test downloads a model that it chooses in the menu.
    running = start(tmp_path_factory.mktemp("app") / "log.txt", "--model", model, HF_HUB_OFFLINE="1")
    yield running
    stop(running)


@pytest.fixture(scope="session")
def slow_app(tmp_path_factory, talkative) -> Iterator[App]:
    """The app with a model whose answers last long enough to be stopped."""
    running = start(tmp_path_factory.mktemp("slow") / "log.txt", "--model", str(talkative))
    yield running
    stop(running)


def works(program: str) -> bool:
    """Whether a program runs and is no snap, nor points to one as Ubuntu's packages do; as in the Makefile."""
    path = Path(program)
    with path.open("rb") as file:
        if "snap" in (*path.parts, *path.resolve().parts) or b"/snap/" in file.read(4096):
            return False
    return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0


def chromium_on_path() -> str | None:
    """The first program that works; None = Playwright's own, which `make test` installs where there is none."""
    return next(filter(works, filter(None, map(shutil.which, CHROMIUM))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or chromium_on_path()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visitor(browser) -> Iterator[Page]:
    """A fresh page at 1280 × 810. What its console complains of, and requests to elsewhere, fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 810})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda m: complaints.append(f"{m.text} ({m.location.get('url')})") if m.type == "error" else None,
    )
    page.on(
        "request",
        lambda r: None if r.url.startswith(("http://127.0.0.1", "data:", "blob:")) else complaints.append(r.url),
    )
    yield page
    context.close()
    assert not complaints


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A red circle at the left and a blue square at the right."""
    image = Image.new("RGB", (500, 240), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((40, 60, 160, 180), fill=(214, 39, 40))
    pen.rectangle((340, 70, 440, 170), fill=(31, 119, 180))
    path = tmp_path / "scene.png"
    image.save(path)
    return path


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another picture: Chromium fires no event for a file that is chosen twice in a row."""
    path = tmp_path / "other.png"
    Image.new("RGB", (120, 90), "green").save(path)
    return path
