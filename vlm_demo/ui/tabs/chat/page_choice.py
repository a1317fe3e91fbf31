"""Page choice: uploads of several pages (PDF) or frames (GIF, TIFF, ...) → which one is asked about.

A small number field next to the composer, visible only while such a file is in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from vlm_demo.errors import BadImage
from vlm_demo.images.open import Page, open_image
from vlm_demo.images.pages import pages_in
from vlm_demo.images.pdf import no_such
from vlm_demo.ui import pictures
from vlm_demo.ui.components.page_components import PageComponents
from vlm_demo.ui.sessions import Sessions, session_locked


@dataclass(frozen=True)
class Upload:
    """An upload that is a picture.

    Attributes:
        path: of the uploaded file, or its name.
        content: its bytes.
        page: the page or frame, from 1; None = it has only one.
        preview: a data URI of that page.
        kind, count: whether it has pages or frames, and how many.
    """

    path: str
    content: bytes
    page: int | None
    preview: str
    kind: str = "frame"
    count: int = 1


def opened(paths: list[str], number: int) -> tuple[list[Upload], BadImage | None]:
    """The uploads that are pictures, and the error of the first that is none.

    Args:
        number: the page or frame of those that have several, from 1.
    """
    found, problem = [], None
    for path in paths:
        try:
            content = Path(path).read_bytes()
            kind, count = pages_in(content)
            if 1 < count < number:  # the file is good, and stays in the composer
                problem = problem or no_such(number, count, kind)
                found.append(Upload(path, content, None, ""))
                continue
            if count > 1:
                found.append(at_page(Upload(path, content, None, "", kind, count), number))
                continue
            shown, _ = open_image(content)
            found.append(Upload(path, content, None, pictures.preview(shown)))
        except OSError:
            problem = problem or BadImage("This upload is no longer on the server: add the picture again.")
        except BadImage as error:
            problem = problem or error
    return found, problem


def at_page(upload: Upload, number: int) -> Upload:
    """The same file at another page or frame.

    Raises:
        BadImage: there is no such, or it can't be drawn.
    """
    if not 1 <= number <= upload.count:
        raise no_such(number, upload.count, upload.kind)
    shown, _ = open_image(Page(upload.content, number))
    return replace(upload, page=number, preview=pictures.preview(shown))


class PageChoice:
    """The number field's events."""

    def __init__(self, sessions: Sessions, parts: PageComponents) -> None:
        self.sessions, self.parts = sessions, parts

    def wire(self, field: gr.Number) -> None:
        """Wire the field, which is hidden among the toggles at first."""
        at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        at_once["trigger_mode"] = "always_last"
        self.parts.status.uploaded(self.look, [self.parts.composer], field, **at_once)
        field.input(self.choose, [field], None, **at_once)

    @session_locked
    def look(self, message: dict | None, request: gr.Request) -> Any:
        """The composer's files have changed: show or hide the field."""
        session = self.sessions.of(request.session_hash)
        kind, most = "page", 1
        for path in (message or {}).get("files") or []:
            try:
                found, count = pages_in(Path(path).read_bytes())
            except OSError:  # removed from the composer meanwhile
                continue
            if count > most:
                kind, most = found, count
        if most == 1:
            session.page = 1
        label = f"{kind.capitalize()} (of {most})"
        return gr.update(visible=most > 1, value=session.page, maximum=most, label=label)

    @session_locked
    def choose(self, number: float | None, request: gr.Request) -> None:
        """Another page or frame, from the next question on."""
        self.sessions.of(request.session_hash).page = int(number) if number and number >= 1 else 1
