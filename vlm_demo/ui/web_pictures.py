"""Web pictures: what the page does where a client sends an address in place of an upload.

The page's composer only uploads, but a client of the server may name any address as a file, and Gradio fetches it from
every public host, follows redirects, and sets no limit. Here only allowed hosts are contacted.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import gradio as gr
from gradio import processing_utils
from markupsafe import escape

from vlm_demo.errors import BadImage
from vlm_demo.images.remote_pictures import RemotePictures


def fetch_only(remote: RemotePictures) -> None:
    """Make Gradio fetch only what ``remote`` allows, in this process and from now on."""

    async def content(address: str) -> bytes:
        try:
            return await asyncio.to_thread(remote.fetch, address)
        except BadImage as error:
            raise gr.Error(str(escape(str(error))), print_exception=False) from error

    async def download(url: str, cache_dir: str) -> str:
        fetched = await content(url)
        # Gradio names files by their address, so that visitors would share them.
        folder = Path(cache_dir) / secrets.token_hex(16)
        folder.mkdir(parents=True)
        path = folder / "picture"
        path.write_bytes(fetched)
        return str(path)

    async def refuse(url: str) -> None:
        raise gr.Error("Nothing is fetched from the web here: upload the file.", print_exception=False)

    processing_utils.async_ssrf_protected_download = download
    processing_utils.async_ssrf_protected_get = refuse
