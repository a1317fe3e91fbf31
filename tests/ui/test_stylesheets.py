"""Stylesheets: one tab's rules for a class apply to no other tab."""

from __future__ import annotations

import re

import pytest

from vlm_demo.ui.theme import STATIC

TABS = ("compare", "contrast", "faq", "learn", "mask")
ALIKE = {("compare", "mask"): "the same choices in one row, and the same line on where the picture comes from"}
TEMPLATES = STATIC.parent / "templates"


def rules(tab: str) -> dict[str, set[str]]:
    """The selectors of a tab's rules that name no element by its id, with the classes that each wants."""
    text = re.sub(r"/\*.*?\*/", "", (STATIC / f"{tab}.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    selectors = [one.strip() for many in re.findall(r"([^{}]+)\{", text) for one in many.split(",")]
    return {one: set(re.findall(r"\.([a-z][\w-]*)", one)) for one in selectors if "#" not in one and "." in one}


def classes_in(tab: str) -> set[str]:
    """The classes of a tab's templates."""
    texts = [file.read_text(encoding="utf-8") for file in TEMPLATES.glob(f"{tab}*.html")]
    return {name for text in texts for many in re.findall(r'class="([^"{]*)', text) for name in many.split()}


@pytest.mark.parametrize("tab", TABS)
def test_no_rule_of_a_tab_meets_a_class_of_another(tab: str) -> None:
    own = rules(tab)
    assert own
    others = [other for other in TABS if other != tab and (tab, other) not in ALIKE]
    met = {other: [rule for rule, wants in own.items() if wants <= classes_in(other)] for other in others}
    assert not any(met.values()), met
