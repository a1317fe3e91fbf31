"""`python -m vlm_demo export`: an embedded model → an ordinary Hugging Face checkpoint in a folder, or the files of
llama.cpp."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vlm_demo.cli.command import Command, application

app = application()


@app.command(cls=Command)
def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="of an embedded model")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="a new or an empty folder")],
    gguf: Annotated[
        bool, typer.Option("--gguf", help="write the two GGUF files of llama.cpp instead (llava-vit)")
    ] = False,
) -> None:
    """Copy an embedded model as an ordinary Hugging Face checkpoint to a folder."""
    from vlm_demo.models import embedded, gguf_export, loading

    embedded.require_empty(folder)
    shipped = loading.shipped(name)
    if gguf and shipped is not None:
        gguf_export.require(name, shipped)
    announced = loading.announcement(name)
    if announced:
        print(announced, file=sys.stderr)
    if not gguf:
        embedded.export(loading.checkpoint(name), folder)
        print(f"{name} lies in {folder}; after `import vlm_demo`, transformers' from_pretrained loads it.")
        return
    language, vision = gguf_export.export(name, loading.checkpoint(name), folder)
    print(
        f"{name} lies in {folder}; to serve it (pip install llama-cpp-python[server]):\n"
        f"python -m llama_cpp.server --model {language} --clip_model_path {vision} --model_alias {name} "
        "--chat_format mtmd --n_ctx 4096 --logits_all true"
    )
