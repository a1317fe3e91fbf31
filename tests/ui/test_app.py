"""app.py and the layout: flags, refusals in one sentence, and a page that asks nothing of other servers."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import app
from tests.tiny import tiny_llava
from tests.ui.fake_pipeline import FakePipeline
from vlm_demo.ui import layout
from vlm_demo.ui.service import Service
from vlm_demo.ui.theme import launch_options

ROOT = Path(__file__).parents[2]


def start(*flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "app.py", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)


def test_help_needs_neither_torch_nor_gradio():
    code = "import sys; sys.argv = ['app.py', '--help']\ntry:\n import app; app.main()\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'gradio', 'transformers'} & set(sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for flag in ("--model", "--quantize", "--device", "--host", "--port", "--share", "--auth", "--no-auth"):
        assert flag in told.stdout


def test_unknown_model_is_refused_in_one_sentence():
    told = start("--model", "nonesuch")
    assert told.returncode != 0
    assert len(told.stderr.strip().splitlines()) == 1 and "nonesuch" in told.stderr


def test_a_port_in_use_is_refused_in_one_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        told = start("--model", str(tiny_llava(tmp_path)), "--port", port)
    assert told.returncode != 0
    assert len(told.stderr.strip().splitlines()) == 1 and port in told.stderr


def test_password_comes_from_flag_or_environment_and_no_auth_wins(monkeypatch):
    assert app.parse([]).auth is None
    monkeypatch.setenv(app.AUTH_VARIABLE, "ann:se:cret")
    assert app.parse([]).auth == "ann:se:cret"
    assert app.parse(["--auth", "bob:x"]).auth == "bob:x"
    assert app.parse(["--share", "--no-auth"]).auth is None
    with pytest.raises(SystemExit):
        app.parse(["--auth", "nopassword"])


def test_share_without_auth_makes_a_password(monkeypatch):
    served = {}
    monkeypatch.delenv(app.AUTH_VARIABLE, raising=False)
    monkeypatch.setattr(app, "serve", lambda flags, made: served.update(auth=flags.auth, made=made) or 0)
    monkeypatch.setattr(app.signal, "signal", lambda *_: None)
    for variable in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(variable, "")  # put back afterwards
    monkeypatch.setattr(sys, "argv", ["app.py", "--share"])
    app.main()
    user, _, password = served["auth"].partition(":")
    assert served["made"] and user and len(password) >= 12
    monkeypatch.setattr(sys, "argv", ["app.py", "--share", "--no-auth"])
    app.main()
    assert served == {"auth": None, "made": False}


def test_a_tunnel_that_cannot_be_made_is_no_error(monkeypatch, capsys):
    from gradio import networking

    def refuse(*_):
        print("a long story")
        raise RuntimeError("Could not get share link from Gradio API Server.")

    monkeypatch.setattr(networking, "setup_tunnel", refuse)
    assert app.tunnel(app.parse(["--share"])) is None
    assert capsys.readouterr().out == ""


def config(ocr_missing: str | None = None) -> dict:
    page = layout.build(Service(FakePipeline(), lambda *_: FakePipeline(), "llava"), [], ocr_missing)
    return page.get_config_file()


def test_without_tesseract_the_toggle_is_off_and_the_page_says_how_to_install_it():
    def toggle(drawn: dict) -> dict:
        return next(c["props"] for c in drawn["components"] if c["props"].get("elem_id") == "ocr")

    sentence = "Reading text needs Tesseract: install it."
    missing, present = config(sentence), config()
    assert toggle(missing)["interactive"] is False and sentence in str(missing)
    assert toggle(present)["interactive"] is True and sentence not in str(present)


def test_stop_is_unqueued_and_answers_share_one_queue():
    dependencies = layout.build(Service(FakePipeline(), lambda *_: FakePipeline(), "llava"), []).fns.values()
    by_name = {fn.name: fn for fn in dependencies}
    assert not by_name["stop"].queue
    assert by_name["answer"].queue and by_name["answer"].concurrency_id == "model"
    assert by_name["answer"].concurrency_limit == 1


def test_the_page_carries_no_address_of_another_server():
    options = launch_options()
    assert not re.search(r"https?://", options["head"])
    assert not any("Google" in type(font).__name__ for font in options["theme"]._font + options["theme"]._font_mono)
