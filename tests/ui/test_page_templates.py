"""The page's HTML comes from templates alone, which escape all that they are given but what they have rendered."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from vlm_demo.ui.components.templates import ENVIRONMENT, render

PACKAGE = Path(__file__).parents[2] / "vlm_demo"
UI = PACKAGE / "ui"
MARKUP = re.compile(r"</?[a-z][\w-]*[\s/>]|</?[a-z][\w-]*$")
EVIL = "<script>alert(1)</script>\"'&amp;"


def texts(source: str) -> Iterator[str]:
    """The string constants of a module that are no docstrings, the pieces of its f-strings among them."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def test_what_is_markup_is_recognised():
    source = '"""A <p> in prose."""\nx = f\'<p class="a">{x}</p>\'\ny = "1 < 2"'
    assert [bool(MARKUP.search(text)) for text in texts(source)].count(True) == 2


@pytest.mark.parametrize("path", sorted(UI.rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_of_the_page_writes_html(path):
    assert not [text for text in texts(path.read_text()) if MARKUP.search(text)]


def test_text_is_escaped_and_what_was_rendered_is_not_escaped_again():
    drawn = render("conversation", turns=[render("problem", sentence=EVIL), EVIL], finished=True)
    assert "<script>" not in drawn and "\"'" not in drawn and drawn.count("&lt;script&gt;") == 2
    assert drawn.count('<p class="problem" role="alert">') == 1


def test_no_template_switches_escaping_off():
    for name in ENVIRONMENT.list_templates():
        source, *_ = ENVIRONMENT.loader.get_source(ENVIRONMENT, name)
        assert not re.search(r"\|\s*safe\b|autoescape", source), name


def test_a_value_that_was_not_given_is_an_error():
    with pytest.raises(UndefinedError, match="sentence"):
        render("problem")


def test_every_template_is_used():
    named = set(re.findall(r'render\(\s*"(\w+)"', "".join(path.read_text() for path in UI.rglob("*.py"))))
    sources = "".join(path.read_text() for path in UI.rglob("*.html"))
    named |= set(re.findall(r'(?:from|include) "(\w+)\.html"', sources))
    assert {path.stem for path in UI.rglob("*.html")} == named


def test_every_file_of_data_is_installed_with_the_package():
    tree = ast.parse((PACKAGE.parent / "setup.py").read_text())
    package_data = next(
        node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "package_data"
    )
    patterns = ast.literal_eval(package_data)[""]
    data = [path.relative_to(PACKAGE) for path in UI.rglob("*.*") if path.suffix not in (".py", ".pyc")]
    assert {path.suffix for path in data} == {".html", ".css", ".js"}
    assert not [path for path in data if not any(path.match(pattern) for pattern in patterns)]
