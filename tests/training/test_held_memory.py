"""A block that was freed is used again, and costs no fresh pages."""

import subprocess
import sys

import pytest

COUNT = """
import resource, sys
if sys.argv[1:]:
    from vlm_demo.training.memory import hold
    hold()
import numpy as np
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(50_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(min(faults() for _ in range(3)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_was_freed_is_kept():
    def pages(*asked: str) -> int:
        return int(subprocess.check_output([sys.executable, "-c", COUNT, *asked]))

    assert pages("hold") * 10 < pages()
