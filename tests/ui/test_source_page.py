"""The package's source files as pages: those of a list and no others, only for those who may see the page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from gradio.routes import App
from starlette.testclient import TestClient

from vlm_demo.ui.source import listing, source_page, step_files

PACKAGE = Path(source_page.__file__).parents[2]


@pytest.fixture
def client() -> Iterator[TestClient]:
    with gr.Blocks() as page:
        gr.HTML("")
    yield TestClient(App.create_app(page, app_kwargs={"routes": [source_page.route()]}))


@pytest.mark.parametrize("name", step_files.FILES)
def test_a_file_is_shown_line_by_line_as_it_is(client: TestClient, name: str) -> None:
    shown = client.get(f"/source/{name}")
    assert shown.status_code == 200 and shown.headers["content-type"].startswith("text/html")
    rows = re.findall(r'<li id="L\d+">.*?<code>(.*?)</code></li>', shown.text, re.DOTALL)
    told = [html.unescape(re.sub(r"</?span[^>]*>", "", row)) for row in rows]
    assert told == (PACKAGE / name).read_text().splitlines()
    assert "<script" not in shown.text and "http" not in re.sub(r"<ol.*?</ol>", "", shown.text, flags=re.DOTALL)


@pytest.mark.parametrize(
    "name",
    ["app.py", "ui/session.py", "../pyproject.toml", "%2e%2e/pyproject.toml", "..%2fpyproject.toml", "stages/", "",
     "stages/view.py/x", "/etc/passwd", "stages/view.py%00", "STAGES/VIEW.PY"],
)  # fmt: skip
def test_nothing_else_is_shown(client: TestClient, name: str) -> None:
    shown = client.get(f"/source/{name}")
    assert shown.status_code == 404 and "import" not in shown.text


@pytest.mark.parametrize("before", ["", "/glass"])
def test_below_a_proxys_path(client: TestClient, before: str) -> None:
    below = TestClient(client.app, root_path="/glass")
    assert below.get(f"{before}/source/stages/view.py").status_code == 200


def test_behind_the_pages_password(client: TestClient) -> None:
    client.app.auth = {"guest": "open sesame"}
    refused = client.get("/source/stages/view.py")
    assert refused.status_code == 401 and "<li" not in refused.text
    assert client.get("/source/app.py").status_code == 401
    client.post("/login", data={"username": "guest", "password": "open sesame"})
    assert client.get("/source/stages/view.py").status_code == 200
    client.get("/logout", follow_redirects=False)
    assert client.get("/source/stages/view.py").status_code == 401


@pytest.mark.parametrize("step", step_files.STEPS)
def test_every_step_leads_to_the_line_of_the_function_that_does_it(step: str) -> None:
    file, symbol = step_files.STEPS[step]
    found = re.fullmatch(rf"source/{re.escape(file)}#L(\d+)", step_files.source(step).link)
    row = (PACKAGE / file).read_text().splitlines()[int(found[1]) - 1]
    assert re.match(rf"\s*def {symbol.rpartition('.')[2]}\(", row)


def test_pieces_are_what_they_are_to_the_eye() -> None:
    text = 'def f(x):  # why\n    """Two\n    lines."""\n    return 3 + x\n'
    pieces = listing.lines(text)
    assert pieces[0] == [("keyword", "def"), ("", " "), ("name", "f"), ("", "("), ("", "x"), ("", ")"), ("", ":"),
                         ("", "  "), ("comment", "# why")]  # fmt: skip
    assert pieces[1][-1] == ("string", '"""Two') and pieces[2] == [("string", '    lines."""')]
    assert ("number", "3") in pieces[3] and ("keyword", "return") in pieces[3]
    with pytest.raises(LookupError):
        listing.line_of(text, "g")
