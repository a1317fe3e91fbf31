"""Contrast work: a table's missing results → computed by the models, a small piece at a time.

Between two pieces another page, or Chat, may use the model; and each piece is chosen anew, so that later presses are
taken into account.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from PIL import Image

from vlm_demo.contracts.engine import Engine
from vlm_demo.engines import offers
from vlm_demo.engines.registry import UNEXPECTED, ModelRegistry, Progress, log_unexpected
from vlm_demo.errors import BadImage, BadQuestion, Stopped, VlmDemoError
from vlm_demo.ui.pictures import LARGE, PREVIEW, shrunk
from vlm_demo.ui.session import Session
from vlm_demo.ui.sessions import Sessions
from vlm_demo.ui.tabs.contrast.contrast_table import (
    ContrastTable,
    Hidden,
    ModelFacts,
    Pair,
    PairScore,
    Picture,
    shortened,
)

TABLE, MAP, OTHERS = "table", "map", "others"  # the parts of the tab that a piece of work changes
KNOWN = 0.5  # in-distribution scores below this are reported
TENTH = 0.9  # the quantile of a map above which a place is marked
SHIFTS = ((1, 0), (0, 1), (1, 1))  # of what is hidden elsewhere, in halves of the picture's height and width
NO_MODEL = "No model here compares pictures with texts: start with one that does, such as --model clip."
WAITING = "Waiting for the models."

Piece = Callable[[Progress], str]


class ContrastWork:
    """Calls the models that compare, for all visitors of the page."""

    def __init__(self, sessions: Sessions, service: ModelRegistry) -> None:
        self.sessions, self.service = sessions, service
        self._keys: dict[str, str] = {}

    # -- which model ----------------------------------------------------------------------------------------------

    def models(self) -> dict[str, bool | None]:
        """The models that can compare here, and whether each has an ITM head (None = not known yet): the one in service
        where it compares, then the embedded ones."""
        embedded: dict[str, bool | None] = {offer.name: offer.matches for offer in offers.comparers()}
        shared = self.shared
        return {shared: embedded.get(shared), **embedded} if self.service.scores else embedded

    @property
    def shared(self) -> str:
        """The key of the model in service: the name of an embedded one, else a number, since visitors must not be told
        its folder or hub id."""
        model = self.service.model
        if model in {offer.name for offer in offers.comparers()}:
            return model
        return self._keys.setdefault(model, f"shared {len(self._keys) + 1}")

    def called(self, table: ContrastTable, model: str) -> str:
        """A model's name, as the page shows it."""
        if model in table.facts:
            return table.facts[model].name
        return self.service.status.name if model == self.shared else model

    def model_of(self, table: ContrastTable) -> str:
        """A table's ITC model; empty where there is none."""
        models = self.models()
        return table.model if table.model in models else next(iter(models), "")

    def judge_of(self, table: ContrastTable) -> str:
        """A table's ITM model; empty = none."""
        model = self.model_of(table)
        if self.has_itm(table, model):
            return model
        return table.judge if table.judge in self.models() else ""

    def good_at(self, model: str) -> str:
        """What an embedded model is good at, in a few words; empty where not known."""
        return next((offer.good_at for offer in offers.comparers() if offer.name == model), "")

    def has_itm(self, table: ContrastTable, model: str) -> bool:
        """Whether a model has an ITM head, as far as known."""
        return table.facts[model].matches if model in table.facts else bool(self.models().get(model))

    @contextmanager
    def engine(
        self, model: str, cancelled: Callable[[], bool], progress: Progress = lambda _fraction, _text: None
    ) -> Iterator[Engine]:
        """The engine of a model, for one piece of work: the shared one, or a side engine."""
        if model == self.shared and self.service.scores:
            with self.service.engine(cancelled) as shared:
                yield shared
        elif model in self._keys.values():
            raise Stopped("Another model is in service now.")
        else:
            with self.service.side_engines.engine(model, cancelled=cancelled, progress=progress) as side:
                yield side

    # -- one piece after the other --------------------------------------------------------------------------------

    def wait(self, session: Session, table: ContrastTable) -> None:
        """Say that the models are waited for, where something is missing and nothing is being computed yet."""
        if table.doing:
            return
        problem, missing = table.problem, self._next(session, table) is not None
        table.doing, table.problem = WAITING if missing else "", problem

    def run(self, session: Session, table: ContrastTable) -> Iterator[str]:
        """Compute all that is missing in a table; yields which part of the tab has changed."""
        while True:
            with session.lock:
                piece = self._next(session, table)
            if piece is None:
                break
            yield TABLE
            try:
                yield from self._run_piece(table, piece)
            except Stopped:
                break
            except VlmDemoError as error:
                table.problem = str(error)
                break
            except Exception as error:
                log_unexpected(error)
                table.problem = UNEXPECTED
                break
        table.doing, table.fraction = "", None
        if session.closed.is_set():  # what was computed after the page had been closed
            self.service.forget(session.visitor)
        yield TABLE

    def _run_piece(self, table: ContrastTable, piece: Piece) -> Iterator[str]:
        """Run a piece in a separate thread, so that the loading of a model can be shown."""
        done: queue.Queue[str | BaseException] = queue.Queue()

        def progress(fraction: float | None, text: str) -> None:
            table.doing, table.fraction = text or table.doing, fraction

        def work() -> None:
            try:
                done.put(piece(progress))
            except BaseException as error:
                done.put(error)

        threading.Thread(target=work, daemon=True).start()
        seen = table.doing, table.fraction
        while True:
            try:
                found = done.get(timeout=0.25)
            except queue.Empty:
                if seen != (table.doing, table.fraction):
                    seen = table.doing, table.fraction
                    yield TABLE
                continue
            if isinstance(found, BaseException):
                raise found
            yield found
            return

    def _next(self, session: Session, table: ContrastTable) -> Piece | None:
        """The next piece of work; None = nothing is missing."""
        table.doing = table.problem = ""
        table.fraction = None
        model, judge, chosen = self.model_of(table), self.judge_of(table), table.chosen
        if chosen is None or session.closed.is_set():
            return None
        if not model:
            table.problem = NO_MODEL
            return None
        for asked_model, picture in [(model, chosen), *((model, shown) for shown in table.pictures), (judge, chosen)]:
            texts = table.unscored(asked_model, picture) if asked_model else []
            if texts:
                name = self.called(table, asked_model)
                table.doing = f"{name} compares." if asked_model in table.facts else f"Loading {name}."
                return partial(self._score, session, table, asked_model, picture, texts)
        first = table.chosen_text(model)
        wanted = table.unmapped(model)
        if first is not None:
            pair = model, chosen.key, table.texts[first]
            if wanted and wanted[0] == pair[2]:
                table.doing = "Drawing where it looks."
                return partial(self._map, session, table, pair, chosen, MAP)
            if pair in table.heats and pair not in table.hidden:
                table.doing = "Hiding what the map marks."
                return partial(self._hide, session, table, pair)
            if pair in table.hidden and pair not in table.leave_one_out and shortened(pair[2]):
                table.doing = "Leaving out each word."
                return partial(self._leave_out, session, table, pair, chosen)
        if wanted:
            table.doing = "Drawing the other texts."
            return partial(self._map, session, table, (model, chosen.key, wanted[0]), chosen, OTHERS)
        return None

    def _wanted(self, session: Session, key: str | None, table: ContrastTable) -> bool:
        return not session.closed.is_set() and (key is None or key in {picture.key for picture in table.pictures})

    def _cancelled(self, session: Session, table: ContrastTable, key: str) -> Callable[[], bool]:
        return lambda: not self._wanted(session, key, table)

    def _score(
        self,
        session: Session,
        table: ContrastTable,
        model: str,
        picture: Picture,
        texts: list[str],
        progress: Progress,
    ) -> str:
        """Score one picture with some texts. A text that can't be used does not stop the others."""
        cancelled = self._cancelled(session, table, picture.key)
        try:
            with self.engine(model, cancelled, progress) as engine:
                began = time.perf_counter()
                scores = engine.score(picture.source, texts, cancelled=cancelled, visitor=session.visitor)
                took = time.perf_counter() - began
                known = engine.in_distribution(scores.view)
                name, parameters = engine.name, engine.parameters
        except BadQuestion as error:
            for text in texts if len(texts) > 1 else ():
                self._score(session, table, model, picture, [text], progress)
            if len(texts) == 1:
                with session.lock:
                    table.failed[model, picture.key, texts[0]] = str(error)
            return TABLE
        except BadImage as error:
            with session.lock:
                table.failed |= {(model, picture.key, text): str(error) for text in texts}
            return TABLE
        matched = next((stage.seconds for stage in scores.stages if stage.name == "match"), None)
        each = None if matched is None else matched / len(texts)
        with session.lock:
            if picture.key not in table.images:
                table.images[picture.key] = shrunk(scores.view.image, LARGE)
            if known is not None and known < KNOWN:
                table.outside.add((model, picture.key))
            matches = scores.matches or (None,) * len(texts)
            table.facts[model] = ModelFacts(
                name, parameters, scores.temperature, scores.matches is not None, took, each
            )
            for text, similarity, match in zip(texts, scores.similarities, matches, strict=True):
                table.scores[model, picture.key, text] = PairScore(similarity, match)
        return TABLE

    def _map(
        self, session: Session, table: ContrastTable, pair: Pair, picture: Picture, part: str, _progress: Progress
    ) -> str:
        cancelled = self._cancelled(session, table, picture.key)
        try:
            with self.engine(pair[0], cancelled) as engine:
                heat = engine.relevancy(picture.source, pair[2], cancelled=cancelled, visitor=session.visitor)
        except Stopped:
            raise
        except VlmDemoError as error:
            with session.lock:
                table.fail_map(pair, str(error))
            return part
        small = shrunk(Image.fromarray(heat), PREVIEW)
        with session.lock:
            table.remember_map(pair, np.asarray(small))
        return part

    def _leave_out(
        self, session: Session, table: ContrastTable, pair: Pair, picture: Picture, _progress: Progress
    ) -> str:
        """Score the text again with each of its words left out."""
        cancelled = self._cancelled(session, table, picture.key)
        with self.engine(pair[0], cancelled) as engine:
            texts = shortened(pair[2])
            scores = engine.score(picture.source, texts, cancelled=cancelled, visitor=session.visitor)
        with session.lock:
            table.leave_one_out[pair] = scores.similarities
        return MAP

    def _hide(self, session: Session, table: ContrastTable, pair: Pair, _progress: Progress) -> str:
        """Score the picture again with the map's top tenth hidden, and with as much hidden elsewhere."""
        image, heat = table.images.get(pair[1]), table.heats.get(pair)
        if image is None or heat is None:
            raise Stopped("The picture was taken off the table.")
        marked = top_tenth(image, heat)
        height, width = marked.shape
        masks = [np.zeros_like(marked), marked]
        masks += [np.roll(marked, (down * height // 2, across * width // 2), (0, 1)) for down, across in SHIFTS]
        cancelled = self._cancelled(session, table, pair[1])
        found = []
        for mask in masks:
            with self.engine(pair[0], cancelled) as engine:
                source = masked(image, mask)
                scores = engine.score(source, [pair[2]], cancelled=cancelled, visitor=session.visitor)
            found.append(scores.similarities[0])
        with session.lock:
            table.hidden[pair] = Hidden(found[0], found[1], float(np.mean(found[2:])))
        return MAP


def top_tenth(image: Image.Image, heat: np.ndarray) -> np.ndarray:
    """bool [H, W]: the tenth of a picture with the map's highest values."""
    resized = np.asarray(Image.fromarray(heat).resize(image.size, Image.Resampling.BILINEAR))
    return resized > np.quantile(resized, TENTH)


def masked(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """A picture filled with its mean colour where ``mask`` (bool [H, W]) is True."""
    pixels = np.array(image)
    pixels[mask] = pixels.reshape(-1, 3).mean(0).round()
    return Image.fromarray(pixels)
