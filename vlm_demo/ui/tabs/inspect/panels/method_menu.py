"""Method: which way of drawing maps is chosen, how far it is to be believed, and what has to be computed for it."""

from __future__ import annotations

from html import escape

from vlm_demo.contracts.heatmap_methods import BY_NAME, TABLE
from vlm_demo.ui.chat_turn import ChatTurn
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.inspect.panels.html_pieces import chooses


def shown(session: Session) -> str | None:
    """The chosen method if the shown answer can have it; None = the checkpoint's own."""
    chosen = session.look.method
    return chosen if chosen and session.shown.methods.get(chosen, "no such method") is None else None


def is_free(name: str | None) -> bool:
    """Whether a map is made of what was recorded; the checkpoint's own always is."""
    return name is None or BY_NAME[name].free


def picker(session: Session) -> str:
    """The menu of methods with what is known of each; or the head that was pressed, and the way back to all."""
    look, exchange = session.look, session.shown
    if look.head:
        layer, head = look.head
        return (
            f'<span class="method"><b>layer {layer + 1}, head {head + 1}</b> '
            f'<button type="button" class="link" {chooses("head", None)}>all heads</button></span>'
        )
    if not exchange.methods or exchange.answer.trace is None:
        return ""
    own, chosen = exchange.answer.trace.settings.method, shown(session) or ""
    others = [method for method in TABLE if method.name != own and exchange.methods.get(method.name, "") is None]
    free = "".join(_option(exchange, method.name, chosen) for method in others if method.free)
    slow = "".join(_option(exchange, method.name, chosen) for method in others if not method.free)
    groups = [("Default", _option(exchange, own, own if not chosen else "", "")), ("Teaching views", free)]
    groups.append(("Teaching views that ask the model again", slow))
    options = "".join(f'<optgroup label="{label}">{held}</optgroup>' for label, held in groups if held)
    about = escape(BY_NAME[chosen or own].about)
    return (
        f'<span class="method"><select data-act="choose" name="method" aria-label="Heatmap method" title="{about}" '
        f'data-value="{chosen}">{options}</select></span>'
    )


def _option(exchange: ChatTurn, name: str, chosen: str, value: str | None = None) -> str:
    score = exchange.answer.trace.settings.scores.get(name)
    said = escape(BY_NAME[name].title) + ("" if score is None else f" · {score:.0%}")
    return f'<option value="{name if value is None else value}"{" selected" * (name == chosen)}>{said}</option>'


def told(session: Session) -> str:
    """What the shown map is, and how often its method pointed right, in one or two sentences."""
    settings = session.shown.answer.trace.settings
    if session.look.head:
        return "The attention weights of one head alone, as they are: a teaching view."
    name = shown(session) or settings.method
    method, score = BY_NAME[name], settings.scores.get(name)
    believed = "How well it points was not measured for this checkpoint."
    if score is not None:
        count = f"{settings.scored} " if settings.scored else ""
        believed = f"It pointed right in {score:.0%} of {count}held-out phrases."
    view = "" if name == settings.method else " A teaching view."
    return f"{escape(method.about)} {believed}{view}"


def panel(session: Session) -> str:
    """Where the shown word's map has to be asked for: the button, or how it goes."""
    name, index = shown(session), session.word
    word = escape(session.shown.answer.words[index].text)
    title, job = escape(BY_NAME[name].title), session.job
    if job and job.wanted == (session.shown, index, name):
        if job.problem:
            return f'<p class="problem" role="alert">{escape(job.problem)}</p>'
        said = f"Computing: {title} for “{word}”" if job.running else "Waiting for the model"
        return (
            f'<div class="computing" role="status"><span>{said}</span><progress aria-label="{said}"></progress>'
            '<button type="button" class="link" data-act="halt">Stop</button></div>'
        )
    return (
        f'<div class="computing"><span>{title} asks the model again.</span>'
        f'<button type="button" class="solid" data-act="compute">Compute for “{word}”</button></div>'
    )
