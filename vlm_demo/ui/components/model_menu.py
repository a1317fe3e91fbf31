"""Model menu: the models to choose from, and which to offer for out-of-distribution pictures."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_demo.contracts import View
from vlm_demo.contracts.engine import Engine
from vlm_demo.engines import offers
from vlm_demo.engines.offers import Offer
from vlm_demo.ui.components.header import Choice
from vlm_demo.ui.tabs.inspect.panels.html_pieces import size

OUTSIDE = (
    "This picture is unlike all that the small embedded model was trained on (everyday photographs, drawn shapes, "
    "charts, screens, documents). Its answer may be a guess."
)


def choices(current: str, quantize: str, device: str, served: str = "") -> dict[str, Choice]:
    """Value → choice of every model in the menu that writes answers: what is loaded, embedded ones with the disk use of
    those that are not put together yet, then hub models with their size, closed where they do not fit.

    Args:
        quantize: the precision in which the next one would be loaded.
        device: on which; the loaded model stays there until the next one is ready, so its memory is not counted free.
        served: a server's model that can be switched back to; empty = none.
    """
    labels = {name: _embedded(name) for name in offers.embedded()}
    room = offers.room_on(device)
    labels |= {offer.id: _offered(offer, quantize, room) for offer in offers.hub(quantize, room)}
    if served:
        labels[served] = Choice(f"{served} · on a server")  # where an embedded one is called so too, the server's
    return {current: Choice(current), **labels}


def _embedded(name: str) -> Choice:
    disk = offers.disk_use(name)
    return Choice(f"{name} · embedded, will take {size(disk)} of disk" if disk else f"{name} · embedded")


def _offered(offer: Offer, quantize: str, room: int) -> Choice:
    label = f"{offer.name} · {size(offer.download_bytes)} download"
    if offer.gated:
        label += ", licence to accept"
    if offer.fits:
        return Choice(label)
    way_out = "; fits in 4-bit" if quantize != "4bit" and offer.fits_in_4bit else ""
    return Choice(label, f"needs {size(offer.needed)}, {size(room)} free{way_out}")


def unquantizable() -> dict[str, str]:
    """Precision → why it is unavailable; empty where all are available."""
    return {name: f"needs {missing}" for name, missing in offers.unquantizable().items()}


def outside(engine: Engine, views: Sequence[View]) -> tuple[str, str] | None:
    """A sentence and a command for out-of-distribution pictures; None where all are in distribution."""
    scores = [score for score in (engine.in_distribution(view) for view in views) if score is not None]
    if not scores or min(scores) >= 0.5:
        return None
    fitting = [entry for entry in offers.hub() if "photos" in entry.good_at]
    if not fitting:
        return OUTSIDE, ""
    best = fitting[0]
    offer = f"For photos: {best.name} ({size(best.download_bytes)} download)."
    return f"{OUTSIDE} {offer}", f'make demo ARGS="--model {best.id}"'
