"""Registration: adds this project's vision tower to transformers' automatic classes, and the BLIP-2 and the Idefics
that see through it.

``import vlm_demo`` must stay cheap, and after it any transformers call must load our folders, whoever imports
transformers and when. So each is registered as soon as transformers' table has been imported: now, if it was already,
or else right after that import, through Python's import hooks. Nothing of transformers is changed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def install() -> None:
    """Register the tower, now or when transformers is imported; a second call changes nothing."""
    for name, register in HOOKS.items():
        if name in sys.modules:
            register(sys.modules[name])
        elif not any(isinstance(finder, _ImportHook) and finder.name == name for finder in sys.meta_path):
            sys.meta_path.insert(0, _ImportHook(name, register))


def _register_config(auto: ModuleType) -> None:
    from vlm_demo.models.efficientnet_bridges_config import (
        EfficientNetBlip2Config,
        EfficientNetIdeficsConfig,
        ProjectedEfficientNetConfig,
    )
    from vlm_demo.models.efficientnet_lite_config import EfficientNetLiteConfig

    for config in (
        EfficientNetLiteConfig,
        ProjectedEfficientNetConfig,
        EfficientNetBlip2Config,
        EfficientNetIdeficsConfig,
    ):
        auto.AutoConfig.register(config.model_type, config, exist_ok=True)


def _register_model(auto: ModuleType) -> None:
    from vlm_demo.models.efficientnet_bridges_config import EfficientNetBlip2Config, EfficientNetIdeficsConfig
    from vlm_demo.models.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel

    auto.AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel, exist_ok=True)
    writes, reads, sees = (
        _LazyClass(EfficientNetBlip2Config, "EfficientNetBlip2ForConditionalGeneration"),
        _LazyClass(EfficientNetBlip2Config, "EfficientNetBlip2ForImageTextRetrieval"),
        _LazyClass(EfficientNetIdeficsConfig, "EfficientNetIdeficsForVisionText2Text"),
    )
    auto.AutoModelForImageTextToText.register(EfficientNetBlip2Config, writes, exist_ok=True)
    auto.AutoModelForZeroShotImageClassification.register(EfficientNetBlip2Config, reads, exist_ok=True)
    auto.AutoModelForImageTextToText.register(EfficientNetIdeficsConfig, sees, exist_ok=True)


class _LazyClass:
    """Stands for a class of ``efficientnet_bridges``, which is imported when an attribute of it is used.

    That module needs transformers' BLIP-2 and Idefics, and one of these may be half imported at the time of the
    registration.
    """

    def __init__(self, config_class: type, name: str) -> None:
        self.config_class, self.__name__ = config_class, name

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(import_module("vlm_demo.models.efficientnet_bridges"), self.__name__), name)


# transformers' module → what to call when it has been imported.
HOOKS: dict[str, Callable[[ModuleType], None]] = {
    "transformers.models.auto.configuration_auto": _register_config,
    "transformers.models.auto.modeling_auto": _register_model,
}


class _ImportHook(MetaPathFinder):
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

        def execute_and_call(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self.call(module)

        spec.loader.exec_module = execute_and_call  # type: ignore[method-assign]
        return spec
