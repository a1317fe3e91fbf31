"""Modules and public classes have unique names, so that a name is unambiguous."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from tests.test_imports import MODULES, ROOT

# Packages whose files are named by what they belong to: a command, what travels, a family of models.
BY_WHAT_THEY_BELONG_TO = ("vlm_demo.cli", "vlm_demo.contracts", "vlm_demo.models.adapters", "vlm_demo.models.builders")
SHARED_MODULES = {
    "bridges": "the trained ones, and their comparison",
    "remote": "a picture on the web, and a server that answers",
    "stages": "the package, and the panels of the Learn tab that show it",
    "panels": "of two tabs",
}
SHARED_CLASSES = {
    "Asked": "what a request asks, and what a preset of the Compare tab asks",
    "Comparison": "of texts in training, and of models in the Compare tab",
    "Desk": "of two tabs",
    "Figure": "of two tabs",
    "Outcome": "of a generation, of a request to an endpoint, and of two experiments",
    "Piece": "of a stream, and of two answers' difference",
    "Row": "of two tables of figures",
    "Run": "of a training, and of folded tokens",
    "Score": "of answers, and of a pair in the Contrast tab",
}


def repeated(found: dict[str, set[str]]) -> set[str]:
    return {name for name, places in found.items() if len(places) > 1}


def module_names() -> dict[str, set[str]]:
    """Last name → the modules that are called so."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, file in MODULES.items():
        if not module.startswith(tuple(f"{package}." for package in BY_WHAT_THEY_BELONG_TO)) and file.parent != ROOT:
            found[module.rpartition(".")[2]].add(module)
    return found


def class_names(module: str, file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}


def test_no_two_modules_have_one_name() -> None:
    assert repeated(module_names()) <= set(SHARED_MODULES)


def test_no_two_public_classes_have_one_name() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for module, file in MODULES.items():
        for name in class_names(module, file):
            found[name].add(module)
    assert repeated(found) <= set(SHARED_CLASSES)
