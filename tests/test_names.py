"""Modules and public classes have unique names, so that a name is unambiguous."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from tests.test_imports import MODULES, ROOT

# Packages whose files are named by what they belong to: a command, what travels, a family of models.
BY_WHAT_THEY_BELONG_TO = ("vlm_demo.cli", "vlm_demo.contracts", "vlm_demo.models.adapters", "vlm_demo.models.builders")


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
    assert repeated(module_names()) == set()


def test_no_two_public_classes_have_one_name() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for module, file in MODULES.items():
        for name in class_names(module, file):
            found[name].add(module)
    assert repeated(found) == set()
