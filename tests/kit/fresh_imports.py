"""Programs that begin with nothing imported but torch, so that what they import first is theirs to choose."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
# torch takes longest to import and is the same whatever comes after it: once for all programs.
EACH = """
import json, os, sys, traceback
import torch

statuses = []
for program in json.load(sys.stdin):
    child = os.fork()
    if not child:
        try:
            exec(program, {})
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    statuses.append(os.waitpid(child, 0)[1])
sys.exit(any(statuses))
"""


def run_each(programs: Sequence[str]) -> None:
    """Run each in a process of its own; the error that is raised where one fails has its traceback."""
    given = json.dumps(list(programs))
    done = subprocess.run([sys.executable, "-c", EACH], input=given, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
