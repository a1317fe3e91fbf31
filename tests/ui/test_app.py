"""app.py and the layout: flags, refusals in one sentence, and a page that asks nothing of other servers."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import gradio as gr
import pytest

from tests.browser import conftest as browser
from tests.kit.fake_engine import FakeEngine
from vlm_demo import app
from vlm_demo.contracts import OcrSettings
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.engines.scheduler import BATCH
from vlm_demo.ui import layout
from vlm_demo.ui import start as starting
from vlm_demo.ui.theme import launch_options

ROOT = Path(__file__).parents[2]


def registry() -> ModelRegistry:
    return ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")


WAITING = """
import sys
from vlm_demo import app
def serve(*_):
    print("up", flush=True)
    for line in sys.stdin:
        print(line, end="", flush=True)
app.serve = serve
sys.argv = ["app.py"]
sys.exit(app.main())
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """What app.py sets is put back afterwards; its upload folders lie apart from those of other runs."""
    for variable in ("VLM_DEMO_TEMP_DIR", "GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(variable, "")
    for variable in app.NO_STATISTICS:
        monkeypatch.setenv(variable, "1")
    for variable in ("no_proxy", "NO_PROXY", app.AUTH_VARIABLE):
        monkeypatch.setenv(variable, "")
    monkeypatch.setattr(app.tempfile, "tempdir", str(tmp_path))


def start(*flags: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    command = [sys.executable, *python, "app.py", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_help_needs_neither_torch_nor_gradio():
    code = "import sys; from vlm_demo import app; sys.argv = ['app.py', '--help']\n"
    code += "try:\n app.main()\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'gradio', 'transformers'} & set(sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for flag in (
        "--model",
        "--quantize",
        "--device",
        "--host",
        "--port",
        "--share",
        "--auth",
        "--no-auth",
        "--allow-image-host",
    ):
        assert flag in result.stdout


def test_unknown_model_is_refused_in_one_sentence():
    result = start("--model", "nonesuch", "--port", str(free_port()))  # the usual one may be serving a page
    assert result.returncode != 0
    assert len(result.stderr.strip().splitlines()) == 1 and "nonesuch" in result.stderr


def test_without_its_packages_it_says_how_to_get_them():
    result = start(python=("-E", "-S"))
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1 and "not installed; `make demo`" in result.stderr


def test_a_port_in_use_is_refused_in_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = start("--port", port)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1 and port in result.stderr and "--port" in result.stderr


@pytest.mark.parametrize("host", ["nonsense.invalid", "192.0.2.1", "x" * 100])
def test_a_host_that_is_not_this_machine_is_refused_by_name(host, capsys):
    assert app.serve(app.parse(["--host", host]), False) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "--host" in error and host in error and "Port" not in error


@pytest.mark.parametrize("port", ["0", "70000", "-1", "http"])
def test_a_port_that_cannot_be_is_refused(port, capsys):
    with pytest.raises(SystemExit):
        app.parse(["--port", port])
    assert "argument --port: " in capsys.readouterr().err


def test_mcp_without_its_package_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        app.parse(["--mcp"])
    assert 'pip install "gradio[mcp]"' in capsys.readouterr().err


def test_whatever_fails_at_the_launch_is_one_line(monkeypatch, capsys):
    class Page(gr.Blocks):
        def launch(self, **_):
            raise RuntimeError("localhost\nis not accessible")

    monkeypatch.setattr(starting, "service", lambda *_: registry())
    monkeypatch.setattr(starting, "page", lambda *_: Page())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    assert app.serve(app.parse(["--port", port]), False) == 1
    assert capsys.readouterr().err.endswith(f"port {port}: localhost is not accessible\n")


@pytest.mark.parametrize("value", ["true", "True", "1"])
def test_server_side_rendering_is_refused(value, monkeypatch, capsys):
    monkeypatch.setattr(starting, "service", lambda *_: pytest.fail("loaded"))
    monkeypatch.setenv("GRADIO_SSR_MODE", value)
    assert app.serve(app.parse(["--port", str(free_port())]), False) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "GRADIO_SSR_MODE" in error


@pytest.mark.parametrize("where", [{"GRADIO_SSR_MODE": "false"}, {"GRADIO_SSR_MODE": "true", "SPACE_ID": "ann/demo"}])
def test_server_side_rendering_is_switched_off_in_so_many_words(where, monkeypatch):
    launched = {}

    class Page(gr.Blocks):
        def launch(self, **options):
            launched.update(options)
            raise RuntimeError("enough")

    monkeypatch.setattr(starting, "service", lambda *_: registry())
    monkeypatch.setattr(starting, "page", lambda *_: Page())
    for name, value in where.items():
        monkeypatch.setenv(name, value)
    assert app.serve(app.parse(["--port", str(free_port())]), False) == 1
    assert launched["ssr_mode"] is False and launched["mcp_server"] is False


def test_requests_to_itself_go_past_a_proxy_as_do_those_that_did(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    assert not urllib.request.proxy_bypass("127.0.0.1:7860")
    for name, value in app.past_proxies("192.0.2.7").items():
        monkeypatch.setenv(name, value)
    for host in ("127.0.0.1", "localhost", "192.0.2.7", "intranet.example"):
        assert urllib.request.proxy_bypass(f"{host}:7860")
    assert not urllib.request.proxy_bypass("huggingface.co")


class TestUploads:
    """The folder of uploads goes with the process, however that ends."""

    @pytest.fixture
    def running(self, tmp_path):
        def run(**options) -> tuple[subprocess.Popen, list[Path]]:
            command = [sys.executable, "-c", WAITING]
            settings = os.environ | {"TMPDIR": str(tmp_path)}
            # As from a terminal, even where the tests themselves run under nohup.
            options.setdefault("preexec_fn", lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            process = subprocess.Popen(command, cwd=ROOT, env=settings, **pipes, **options)
            started.append(process)
            assert process.stdout.readline() == "up\n"
            return process, list(tmp_path.glob("vlm_demo_*"))

        started: list[subprocess.Popen] = []
        yield run
        for process in started:
            process.kill()
            process.communicate()

    @pytest.mark.parametrize("ending", app.ENDINGS)
    def test_they_go_when_the_program_is_ended(self, running, ending):
        process, (folder,) = running()
        assert folder.name.startswith(f"vlm_demo_{process.pid}_")
        process.send_signal(ending)
        assert process.wait(30) == 0 and not folder.exists()

    def test_nohup_outlives_the_terminal(self, running):
        process, (folder,) = running(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        process.send_signal(signal.SIGHUP)
        process.stdin.write("still here\n")
        process.stdin.flush()
        assert process.stdout.readline() == "still here\n" and folder.exists()

    def test_what_a_killed_run_left_goes_at_the_next_start_and_nothing_else(self, running, tmp_path):
        process, (killed,) = running()
        process.kill()
        process.wait(30)
        (killed / "upload.png").write_bytes(b"private")
        mine, alive, other = (
            tmp_path / name for name in (f"vlm_demo_{os.getpid()}_a", f"vlm_demo_{os.getppid()}_b", "vlm_demo_notes")
        )
        for folder in (mine, alive, other):
            folder.mkdir()
        app.remove_stale(mine)
        assert not killed.exists() and mine.exists() and alive.exists() and other.exists()

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a folder away")
    def test_another_users_folder_stays(self, tmp_path):
        mine, theirs = tmp_path / f"vlm_demo_{os.getpid()}_a", tmp_path / "vlm_demo_999999999_b"
        for folder in (mine, theirs):
            folder.mkdir()
        os.chown(theirs, 12345, 12345)
        app.remove_stale(mine)
        assert theirs.exists()


def test_how_many_answers_are_computed_together_can_be_said(capsys):
    assert app.parse([]).batch == BATCH and app.parse(["--batch", "1"]).batch == 1
    with pytest.raises(SystemExit):
        app.parse(["--batch", "0"])
    assert "choose one from 1 on" in capsys.readouterr().err


def test_password_comes_from_flag_or_environment_and_no_auth_wins(monkeypatch):
    assert app.parse([]).auth is None
    monkeypatch.setenv(app.AUTH_VARIABLE, "ann:se:cret")
    assert app.parse([]).auth == "ann:se:cret"
    assert app.parse(["--auth", "bob:x"]).auth == "bob:x"
    assert app.parse(["--share", "--no-auth"]).auth is None


def test_a_malformed_password_is_blamed_on_where_it_came_from(monkeypatch, capsys):
    for malformed in ("nopassword", ":x", "ann:", ""):
        with pytest.raises(SystemExit):
            app.parse(["--auth", malformed])
        assert "--auth needs" in capsys.readouterr().err
    monkeypatch.setenv(app.AUTH_VARIABLE, "nopassword")
    with pytest.raises(SystemExit):
        app.parse([])
    error = capsys.readouterr().err
    assert f"{app.AUTH_VARIABLE} needs" in error and "--auth needs" not in error


def test_a_password_and_none_cannot_both_be_asked_for(capsys):
    with pytest.raises(SystemExit):
        app.parse(["--auth", "ann:x", "--no-auth"])
    assert "not allowed with" in capsys.readouterr().err


def test_share_without_auth_makes_a_password(monkeypatch):
    served = {}
    monkeypatch.setattr(app, "serve", lambda flags, made: served.update(auth=flags.auth, made=made) or 0)
    monkeypatch.setattr(app.signal, "signal", lambda *_: None)
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
    page = layout.build(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava"), [], ocr_missing)
    return page.get_config_file()


def test_without_tesseract_the_toggle_is_off_and_the_page_says_how_to_install_it():
    def toggle(drawn: dict) -> dict:
        return next(c["props"] for c in drawn["components"] if c["props"].get("elem_id") == "ocr")

    sentence = "Reading text needs Tesseract: install it."
    missing, present = config(sentence), config()
    assert toggle(missing)["interactive"] is False and sentence in str(missing)
    assert toggle(present)["interactive"] is True and sentence not in str(present)


def test_a_language_can_be_chosen_where_there_are_several():
    def menu(*languages: str) -> dict:
        service = ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava")
        drawn = layout.build(service, [], None, ocr_settings=OcrSettings("deu"), languages=languages).get_config_file()
        return next(c["props"] for c in drawn["components"] if c["props"].get("elem_id") == "ocr-language")

    several = menu("deu", "eng")
    assert several["visible"] and several["value"] == "deu"
    assert [value for _, value in several["choices"]] == ["deu", "eng"]
    assert not menu("deu")["visible"]


def test_stop_is_unqueued_and_answers_share_one_queue():
    dependencies = layout.build(ModelRegistry(FakeEngine(), lambda *_: FakeEngine(), "llava"), []).fns.values()
    by_name = {fn.name: fn for fn in dependencies}
    assert not by_name["stop"].queue
    assert by_name["answer"].queue and by_name["answer"].concurrency_id == "model"
    model_events = [fn for fn in dependencies if fn.concurrency_id == "model"]
    assert len(model_events) >= 4 and {fn.concurrency_limit for fn in model_events} == {BATCH}


def test_the_page_carries_no_address_of_another_server():
    options = launch_options()
    assert not re.search(r"https?://", options["head"])
    assert not any("Google" in type(font).__name__ for font in options["theme"]._font + options["theme"]._font_mono)


PROGRAMS = {
    "a browser": ("#!/bin/sh\necho Chromium 1", True),
    "one that does not start": ("#!/bin/sh\nexit 1", False),
    "a stub": ('#!/bin/sh\n[ "$1" = --version ] && echo Chromium 1 && exit\nexec /snap/bin/chromium "$@"', False),
}


@pytest.mark.parametrize(("script", "counts"), PROGRAMS.values(), ids=PROGRAMS)
def test_the_browser_tests_take_no_snap_nor_what_points_to_one(script, counts, tmp_path, monkeypatch):
    program = tmp_path / "bin" / "chromium-browser"
    program.parent.mkdir()
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert browser.chromium_on_path() == (str(program) if counts else None)


def test_the_browser_tests_take_no_link_into_snap(tmp_path, monkeypatch):
    snap, link = tmp_path / "snap" / "bin" / "chrome", tmp_path / "bin" / "chromium"
    for path in (snap, link):
        path.parent.mkdir(parents=True)
    snap.write_text("#!/bin/sh\necho Chromium 1")
    snap.chmod(0o755)
    link.symlink_to(snap)
    monkeypatch.setenv("PATH", str(link.parent))
    assert browser.chromium_on_path() is None
