"""Registration: transformers' ``AutoConfig`` and ``AutoModel`` learn of this project's vision tower.

``import vlm_demo`` must stay cheap, and after it any transformers call must load our folders, whoever imports
transformers and when. So each is told as soon as transformers' own table has been imported: now, if it was already, or
else right after that import, through Python's import hooks. Nothing of transformers is changed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def install() -> None:
    """Register the tower, now or when transformers is imported; a second call changes nothing."""
    for name, register in AFTER.items():
        if name in sys.modules:
            register(sys.modules[name])
        elif not any(isinstance(finder, _After) and finder.name == name for finder in sys.meta_path):
            sys.meta_path.insert(0, _After(name, register))


def _register_config(auto: ModuleType) -> None:
    from vlm_demo.models.efficientnet_lite_config import EfficientNetLiteConfig

    auto.AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig, exist_ok=True)


def _register_model(auto: ModuleType) -> None:
    from vlm_demo.models.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel

    auto.AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel, exist_ok=True)


# transformers' module → what to call when it has been imported.
AFTER: dict[str, Callable[[ModuleType], None]] = {
    "transformers.models.auto.configuration_auto": _register_config,
    "transformers.models.auto.modeling_auto": _register_model,
}


class _After(MetaPathFinder):
    """Finds one module as the other finders do, and has ``call`` called with it once it has been executed."""

    def __init__(self, name: str, call: Callable[[ModuleType], None]) -> None:
        self.name, self.call = name, call

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((found for found in others if found is not None), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def then(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self.call(module)

        spec.loader.exec_module = then  # type: ignore[method-assign]
        return spec
