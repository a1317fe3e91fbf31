"""How many files are decoded at a time, and who waits for that."""

from __future__ import annotations

import io
import threading

import pypdfium2
import pytest

from tests.kit.pictures import png
from tests.kit.waiting import LONG, wait_until
from vlm_demo.errors import Stopped
from vlm_demo.images import open as opening
from vlm_demo.images import pdf
from vlm_demo.images.open import open_image


def a_pdf() -> bytes:
    buffer = io.BytesIO()
    document = pypdfium2.PdfDocument.new()
    document.new_page(200, 100)
    document.save(buffer)
    return buffer.getvalue()


def test_two_are_decoded_at_a_time_and_the_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    go, inside, most = threading.Event(), list[int](), list[int]()
    upright = opening._upright

    def slow(*arguments):
        inside.append(1)
        most.append(len(inside))
        assert go.wait(LONG)
        inside.pop()
        return upright(*arguments)

    monkeypatch.setattr(opening, "_upright", slow)
    opened: list[tuple[int, int]] = []
    threads = [threading.Thread(target=lambda: opened.append(open_image(png())[0].size)) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: len(inside) == 2)
    with pytest.raises(Stopped):
        open_image(png(), cancelled=lambda: True)
    go.set()
    for thread in threads:
        thread.join(LONG)
    assert opened == [(30, 20)] * 5 and max(most) == 2


def test_who_no_longer_wants_a_page_waits_for_no_other_pdf(monkeypatch: pytest.MonkeyPatch) -> None:
    full = threading.BoundedSemaphore(1)
    monkeypatch.setattr(pdf, "_PLACES", full)
    with full:
        with pytest.raises(Stopped):
            open_image(a_pdf(), cancelled=lambda: True)
        assert open_image(png())[0].size == (30, 20)  # pictures don't wait for them


def test_a_page_of_many_pictures_is_smaller() -> None:
    (whole, before), (half, after) = (open_image(a_pdf(), most_pixels=most) for most in (None, 50_000))
    assert half.width * half.height <= 50_000 < whole.width * whole.height
    assert not before and any("shrunk" in note for note in after)
