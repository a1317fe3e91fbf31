"""Method menu: the chosen heatmap method, its measured accuracy, and what has to be computed for it."""

from __future__ import annotations

from markupsafe import Markup

from vlm_demo.contracts.heatmap_methods import BY_NAME, TABLE
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.inspect.panels.html_pieces import problem


def shown(session: Session) -> str | None:
    """The chosen method if available for the shown answer; None = the checkpoint's default."""
    chosen = session.map_options.method
    return chosen if chosen and session.shown.methods.get(chosen, "no such method") is None else None


def is_free(name: str | None) -> bool:
    """Whether a map needs only recorded attention; the checkpoint's default always does."""
    return name is None or BY_NAME[name].free


def picker(session: Session) -> Markup:
    """The menu of methods with their scores; or the selected head, and the way back to all."""
    options, exchange = session.map_options, session.shown
    if options.head:
        return render("methods", head=options.head)
    if not exchange.methods or exchange.answer.trace is None:
        return Markup()
    default, chosen = exchange.answer.trace.settings.method, shown(session) or ""
    others = [method for method in TABLE if method.name != default and exchange.methods.get(method.name, "") is None]
    free = [(method.name, _option(exchange, method.name)) for method in others if method.free]
    slow = [(method.name, _option(exchange, method.name)) for method in others if not method.free]
    groups = [("Default", [("", _option(exchange, default))]), ("Teaching views", free)]
    groups.append(("Teaching views that ask the model again", slow))
    about = BY_NAME[chosen or default].about
    return render("methods", head=None, groups=[group for group in groups if group[1]], chosen=chosen, about=about)


def _option(exchange: ChatTurn, name: str) -> str:
    """The method's title, and its pointing accuracy where measured."""
    score = exchange.answer.trace.settings.scores.get(name)
    return BY_NAME[name].title + ("" if score is None else f" · {score:.0%}")


def explanation(session: Session) -> str:
    """What the shown map is, and its method's pointing accuracy, in one or two sentences."""
    settings = session.shown.answer.trace.settings
    if session.map_options.head:
        return f"The attention weights of one head alone, as they are: a teaching view.{_by(session)}"
    name = shown(session) or settings.method
    method, score = BY_NAME[name], settings.scores.get(name)
    believed = "How well it points was not measured for this checkpoint."
    if score is not None:
        count = f"{settings.scored} " if settings.scored else ""
        believed = f"It pointed right in {score:.0%} of {count}held-out phrases."
    view = "" if name == settings.method else " A teaching view."
    return f"{method.about} {believed}{view}{_by(session)}"


def _by(session: Session) -> str:
    """Whose attention it is, where another model wrote the answer."""
    replay = session.shown.answer.replay
    return f" It is the attention of {replay.by}, which read the given answer here (replay)." if replay else ""


def panel(session: Session) -> Markup:
    """Where the shown word's map has to be computed: the button, after what went wrong before, or the progress."""
    name, index = shown(session), session.word
    word = session.shown.answer.words[index].text
    title, job, doing, failed = BY_NAME[name].title, session.job, "", Markup()
    if job and job.wanted == (session.shown, index, name):
        if job.problem:
            failed = problem(job.problem)
        else:
            doing = f"Computing: {title} for “{word}”" if job.running else "Waiting for the model"
    return failed + render("computing", doing=doing, title=title, word=word)
