"""Invented values depend on the seed alone: not on the process, nor on what day it is."""

import os
import subprocess
import sys

import numpy as np

from vlm_demo.training.worlds.values import LOCALES, WORDS, Values

NAMES = (
    "person company street town phone postcode country job colour lower date clock amount price code made_up".split()
)
SCRIPT = """
import numpy as np
from vlm_demo.training.worlds.values import Values
for seed in range(60):
    values = Values(np.random.default_rng(seed))
    print(values.locale, [values.fill("{%s}" % name) for name in NAMES], values.faker.iban(), values.faker.first_name())
"""


def written(hash_seed):
    script = f"NAMES = {NAMES!r}\n{SCRIPT}"
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=True
    ).stdout.decode()


def test_the_same_seed_invents_the_same_in_every_process_and_country():
    one, two = written(1), written(2)
    assert one == two and len(one.splitlines()) == 60
    assert {line.split()[0] for line in one.splitlines()} == set(LOCALES)


def test_patterns_are_filled_and_nothing_is_left_open():
    patterns = [pattern for sort in WORDS["texts"].values() for pattern in sort]
    patterns += [*WORDS["entries"].values(), *(pattern for _, pattern in WORDS["fields"].values())]
    patterns += [column for _, _, columns, _ in WORDS["tables"] for column in columns.values()]
    for seed, pattern in enumerate(patterns):
        text = Values(np.random.default_rng(seed)).fill(pattern)
        assert text.strip() and not set(text) & set("{}#?"), (pattern, text)


def test_amounts_are_written_as_their_country_does():
    seen = set()
    for seed in range(60):
        money = Values(np.random.default_rng(seed)).money
        assert money.plain(123450) == ("1.234,50" if money.comma else "1,234.50")
        assert money.sign in money.signed(5) and money.plain(5) in money.signed(5)
        seen.add(money.name)
    assert {"pounds", "dollars", "euros", "ringgit"} == seen
