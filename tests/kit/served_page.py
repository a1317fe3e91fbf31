"""A page with its APIs on a port of this machine, launched as the app does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
import pytest

from vlm_demo import app
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.ui import layout


@contextmanager
def served_page(service: ModelRegistry) -> Iterator[tuple[gr.Blocks, str]]:
    """The page and its address, as long as the block lasts; asks for no password."""
    page = layout.build(service, [])
    with pytest.MonkeyPatch.context() as patch:
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "127.0.0.1,localhost")
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        patch.delenv(app.AUTH_VARIABLE, raising=False)
        app_kwargs = app.add_apis(page, service, app.parse(["--no-auth"]))
        _, url, _ = page.launch(
            server_name="127.0.0.1",
            app_kwargs=app_kwargs,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            ssr_mode=False,
        )
        yield page, url
        page.close(verbose=False)
