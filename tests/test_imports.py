"""The arrows between the packages point down, and no modules import each other in a circle.

Read from the files, so that imports inside functions and under ``TYPE_CHECKING`` count too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What a module of the package may import lies on the same line or below; the rest, which every one may import, on none.
ORDER = (
    (
        "app",
        "vlm_demo.app",
        "vlm_demo.ui",
        "vlm_demo.api",
        "vlm_demo.serving",
        "vlm_demo.cli",
        "vlm_demo.evaluation",
        "vlm_demo.bench",
    ),
    ("vlm_demo.training",),
    ("vlm_demo.engines",),
    ("vlm_demo.pipeline",),
    ("vlm_demo.chat_messages",),
    ("vlm_demo.explain",),
    ("vlm_demo.stages",),
    ("vlm_demo.runtime",),
    ("vlm_demo.models",),
    ("vlm_demo.checks",),
    ("vlm_demo.contracts",),
    ("vlm_demo.images",),
)
SHARED = {"vlm_demo", "vlm_demo.errors", "vlm_demo.words", "vlm_demo.trust", "vlm_demo.shipped", "vlm_demo.__main__",
          "vlm_demo.document_fields", "vlm_demo.intervals", "vlm_demo.own_thread"}  # fmt: skip
# Packages of the top line that know one another by design.
SAME_LINE_ARROWS = {
    ("app", "vlm_demo.app"): "the file that is started, and what it starts",
    ("vlm_demo.app", "vlm_demo.ui"): "the app builds the page",
    ("vlm_demo.app", "vlm_demo.api"): "the app serves its APIs",
    ("vlm_demo.serving", "vlm_demo.api"): "each replica serves the APIs",
    ("vlm_demo.cli", "vlm_demo.serving"): "a command runs it",
    ("vlm_demo.cli", "vlm_demo.evaluation"): "a command runs it",
    ("vlm_demo.cli", "vlm_demo.bench"): "a command runs it",
    ("vlm_demo.cli", "vlm_demo.training"): "a command runs it",
}
# What lies behind an engine.
INSIDES = ("vlm_demo.pipeline", "vlm_demo.explain", "vlm_demo.stages", "vlm_demo.runtime", "vlm_demo.models",
           "vlm_demo.Pipeline")  # fmt: skip
# Page, APIs, commands and evaluation show and measure what an engine gives; they compute nothing with a model.
KEPT_OUT = {
    "vlm_demo.checks": ("torch", "transformers"),
    "vlm_demo.api": ("torch", "transformers", "matplotlib", "vlm_demo.ui", *INSIDES),
    "vlm_demo.serving": ("torch", "transformers", "matplotlib", "vlm_demo.ui", *INSIDES),
    "vlm_demo.ui": ("torch", "transformers", "matplotlib", *INSIDES),
    "vlm_demo.evaluation": ("torch", "transformers", *INSIDES),
    **dict.fromkeys(("vlm_demo.cli.ask", "vlm_demo.cli.explain", "vlm_demo.cli.score", "vlm_demo.cli.evaluate",
                     "vlm_demo.cli.doctor", "vlm_demo.cli.output", "vlm_demo.cli.options", "vlm_demo.cli.fields",
                     "vlm_demo.cli.table", "vlm_demo.cli.bridges", "vlm_demo.cli.catalogue", "vlm_demo.cli.command",
                     "vlm_demo.cli.draw", "vlm_demo.cli.experiment", "vlm_demo.cli.main"),
                    ("torch", "transformers", *INSIDES)),
    "vlm_demo.contracts": ("torch", "transformers"),
    "vlm_demo.images": ("torch", "transformers", "matplotlib"),
}  # fmt: skip

# Arrows against the plan that stand for now: (from, to) → why.
EXCEPTIONS = {
    (
        "vlm_demo.contracts.features",
        "torch",
    ): "patch features and image tokens are tensors, named for types alone",
    ("vlm_demo.evaluation.head_weights", "torch"): "an optimizer, and no model",
    ("vlm_demo.training.self_critical", "vlm_demo.evaluation.cider"): "what is trained for is what is reported",
    ("vlm_demo.evaluation.experiments.bigger", "vlm_demo.models.builders"): "reads what variants of a recipe differ in",
    ("vlm_demo.evaluation.linear_probe", "torch"): "measures a vision encoder alone, which is no engine",
    ("vlm_demo.evaluation.linear_probe", "vlm_demo.models.download"): "likewise",
    ("vlm_demo.evaluation.linear_probe", "vlm_demo.models.quantization"): "likewise",
    ("vlm_demo.evaluation.linear_probe", "vlm_demo.models.pretrained"): "likewise",
    ("vlm_demo.cli.doctor", "torch"): "reports the machine's memory",
    ("vlm_demo.cli.doctor", "vlm_demo.runtime.tesseract"): "reports Tesseract's version",
    ("vlm_demo.evaluation.photo_items", "vlm_demo.training.photos_split"): "one rule says what is held out, for both",
    ("vlm_demo.evaluation.linear_probe", "vlm_demo.training.json_lines"): "reads the training's listings",
}


def modules() -> dict[str, Path]:
    """Name → file of every module of the package, and the app."""
    files = [ROOT / "app.py", *(ROOT / "vlm_demo").rglob("*.py")]
    found = {}
    for file in files:
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


def imports(name: str) -> Iterator[tuple[int, str]]:
    """Line and name of all that a module imports: a module's name, or that of what is taken from a module outside."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{name}:{node.lineno}: write out where it is imported from"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                # The package itself holds no code but the names that it hands on.
                yield node.lineno, whole if whole in MODULES or node.module == "vlm_demo" else node.module


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def line_of(name: str) -> int | None:
    """Which of ``ORDER``; None for what every module may import."""
    if name == "vlm_demo.Pipeline":
        return line_of("vlm_demo.pipeline")
    return next((i for i, line in enumerate(ORDER) if any(within(name, package) for package in line)), None)


def package_of(name: str) -> str:
    return next(package for line in ORDER for package in line if within(name, package))


def upward(name: str) -> Iterator[str]:
    """The imports of a module that point up, or to the side."""
    line = line_of(name)
    if line is None:
        return
    for number, target in imports(name):
        there = line_of(target)
        if there is None or (name, target) in EXCEPTIONS:
            continue
        source, goal = package_of(name), package_of("vlm_demo.pipeline" if target == "vlm_demo.Pipeline" else target)
        same_line = there == line and source != goal
        training = goal == "vlm_demo.training" and source not in ("vlm_demo.training", "vlm_demo.cli")
        if (there < line or same_line or training) and (source, goal) not in SAME_LINE_ARROWS:
            yield f"{name}:{number} imports {target}"


def test_every_module_has_its_place() -> None:
    assert [name for name in MODULES if line_of(name) is None and name not in SHARED] == []


def test_what_everyone_may_import_imports_nothing_of_the_rest() -> None:
    handed_on = {"vlm_demo.models.registration", "vlm_demo.pipeline", "vlm_demo.cli.main"}
    handed_on |= {name for name in MODULES if within(name, "vlm_demo.contracts")}
    found = {target for name in SHARED for _, target in imports(name) if within(target, "vlm_demo")}
    assert found - SHARED <= handed_on


def test_no_arrow_points_up() -> None:
    assert [arrow for name in MODULES for arrow in upward(name)] == []


@pytest.mark.parametrize("package", KEPT_OUT)
def test_what_a_package_must_not_know_is_not_imported(package: str) -> None:
    found = [
        f"{name}:{number} imports {target}"
        for name in MODULES
        if within(name, package)
        for number, target in imports(name)
        if any(within(target, banned) for banned in KEPT_OUT[package]) and (name, target) not in EXCEPTIONS
    ]
    assert found == []


def test_nothing_reaches_through_an_engine_to_its_pipeline() -> None:
    outside = [f"vlm_demo.{package}" for package in ("ui", "api", "serving", "cli", "evaluation", "bench")]
    found = [
        f"{name}:{node.lineno}"
        for name in MODULES
        if any(within(name, package) for package in outside)
        for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "pipeline"
    ]
    assert found == []


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle, or none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph[name]):
            if found := visit(target, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


def arrows() -> dict[str, set[str]]:
    """Module → the modules of the package that it imports."""
    return {
        name: {target for _, target in imports(name) if target in MODULES and (name, target) not in EXCEPTIONS} - {name}
        for name in MODULES
    }


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(arrows()) == []


def test_a_circle_would_be_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_exceptions_are_still_needed() -> None:
    """What no longer stands goes from the list."""
    assert [pair for pair in EXCEPTIONS if pair[1] not in {target for _, target in imports(pair[0])}] == []
