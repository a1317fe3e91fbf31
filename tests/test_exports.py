"""What ``from vlm_demo import *`` gives, and that the package itself stays cheap to import."""

import subprocess
import sys

import vlm_demo
from vlm_demo import errors


def test_every_name_is_there() -> None:
    names: dict[str, object] = {}
    exec("from vlm_demo import *", names)
    assert set(vlm_demo.__all__) <= set(names) and set(vlm_demo.__all__) <= set(dir(vlm_demo))
    for name in vlm_demo.__all__:
        assert getattr(names[name], "__name__", None) == name


def test_all_errors_are_among_them() -> None:
    made = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert made <= set(vlm_demo.__all__)
    assert {"Pipeline", "Turn", "Answer", "View", "Scores", "Sampling"} <= set(vlm_demo.__all__)


def test_importing_loads_neither_torch_nor_transformers() -> None:
    code = "import sys, vlm_demo; assert 'numpy' not in sys.modules\n"
    code += "from vlm_demo import VlmDemoError, Turn, Answer, Sampling, Trust\n"
    code += "assert not {'torch', 'transformers', 'gradio'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
