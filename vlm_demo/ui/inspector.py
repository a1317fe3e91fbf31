"""Inspector: one answer → the HTML of its tabs (heatmap, what it sees, prompt, text, stages).

Only draws what the answer holds; whatever a person, a picture or a model wrote is escaped.
"""

from __future__ import annotations

from html import escape

from PIL import Image

from vlm_demo.contracts import OcrResult, Segment, View
from vlm_demo.errors import VlmDemoError
from vlm_demo.ui import pictures
from vlm_demo.ui.session import Exchange, Session

NEWLINE = '<i class="newline">↵</i>\n'
NOTHING = '<p class="muted empty">{}</p>'
ORIGINS = {
    "template": "chat template",
    "history": "earlier turn",
    "image": "image",
    "ocr": "text in the picture",
    "question": "question",
    "rule": "evidence rule",
}
STATIONS = {
    "view": "View: what the model is shown",
    "ocr": "OCR: text in the picture",
    "prompt": "Prompt: template and tokens",
    "encoder": "Encoder: pixels to features",
    "bridge": "Bridge: features to image tokens",
    "prefill": "LLM: reading the prompt",
    "decode": "LLM: writing the words",
}


def heatmap(session: Session) -> str:
    """The pressed word's map over each picture, the word stepper, the look, and the road in four cards."""
    exchange = session.shown
    answer = exchange.answer if exchange else None
    if not answer:
        return NOTHING.format("Ask about a picture; then each word of the answer shows here where the model looked.")
    if not answer.words:
        return NOTHING.format("This answer has no words to look at.") + cards(exchange)
    try:
        figures = "".join(_overlay(session, exchange, number) for number in range(len(answer.views)))
    except VlmDemoError as error:
        return NOTHING.format(escape(str(error))) + cards(exchange)
    turn = session.exchanges.index(exchange)
    maps = f'<div class="maps" data-turn="{turn}" data-word="{session.word}">{figures}</div>'
    return f'{maps}<div class="toolbar">{_stepper(session)}{_look(session)}</div>{cards(exchange)}'


def _overlay(session: Session, exchange: Exchange, number: int) -> str:
    answer = exchange.answer
    view, shown = answer.views[number], answer.words[session.word]
    key = (exchange, session.word, number)
    if key not in session.maps:
        session.maps[key] = answer.heatmap(shown, image=number)
    drawn = pictures.overlay(session.maps[key], view, session.opacity, session.grid)
    word = escape(shown.text)
    caption = f"<figcaption>Picture {number + 1}</figcaption>" if len(answer.views) > 1 else ""
    return (
        f'<figure><img class="overlay" src="{pictures.data_uri(drawn)}" '
        f'alt="Heatmap of the word {word} over picture {number + 1}">{caption}</figure>'
    )


def _stepper(session: Session) -> str:
    answer = session.shown.answer
    word = answer.words[session.word]
    sure = min(token.probability for token in answer.tokens[word.start : word.stop])

    def arrow(by: int, label: str, sign: str, end: bool) -> str:
        off = " disabled" if end else ""
        return f'<button type="button" data-act="step" data-by="{by}" aria-label="{label}"{off}>{sign}</button>'

    before = arrow(-1, "Previous word", "◀", session.word == 0)
    after = arrow(1, "Next word", "▶", session.word == len(answer.words) - 1)
    share = answer.picture_share(word)
    looked = "" if share is None else f" · {share:.0%} of its attention on the picture"
    told = "The model's probability of the word, and how much of its attention rested on the picture as it wrote it"
    chance = f'<span class="muted" title="{told}">probability {sure:.2f}{looked}</span>'
    return f'<span class="stepper">{before}<b>{escape(word.text)}</b>{after}{chance}</span>'


def _look(session: Session) -> str:
    act = 'data-act="look"'
    percent = round(session.opacity * 100)
    slider = f'<input type="range" {act} name="opacity" min="0" max="100" step="5" value="{percent}">'
    box = f'<input type="checkbox" {act} name="grid"{" checked" if session.grid else ""}>'
    return f'<span class="look"><label>Opacity {slider}</label><label>{box} Patch grid</label></span>'


def cards(exchange: Exchange) -> str:
    """Encoder, bridge, prompt and LLM: real shapes, and times as bars on one scale."""
    detail = {stage.name: stage.detail for stage in exchange.stages}
    times, words = exchange.answer.timings, len(exchange.answer.tokens)
    pace = f" + {_ms(times.decode / (words - 1))} a token" if words > 1 else ""
    rows = [
        ("Encoder", detail.get("encoder", ""), times.encoder, _ms(times.encoder)),
        ("Bridge", detail.get("bridge", ""), times.bridge, _ms(times.bridge)),
        ("Prompt", detail.get("prompt", ""), times.prompt, _ms(times.prompt)),
        ("LLM", f"{len(exchange.answer.prompt.ids)} → {words} tokens", times.prefill, _ms(times.prefill) + pace),
    ]
    longest = max(seconds for _, _, seconds, _ in rows) or 1.0
    drawn = "".join(
        f'<div class="card"><b>{name}</b><span>{escape(shapes)}</span>'
        f'<i class="bar" style="width:{max(3, 100 * seconds / longest):.0f}%"></i><span>{text}</span></div>'
        for name, shapes, seconds, text in rows
    )
    return f'<div class="cards">{drawn}</div>'


def sees(exchange: Exchange | None) -> str:
    """The pixels that the encoder was really given, with the patch grid."""
    if not exchange or not exchange.answer:
        return NOTHING.format("Here stands the picture as the model sees it: resized, and cut into patches.")
    views, sizes = exchange.answer.views, exchange.sizes
    return "".join(_seen(views[i], sizes[i], f"Picture {i + 1}: " * (len(views) > 1)) for i in range(len(views)))


def _seen(view: View, size: tuple[int, int], title: str) -> str:
    rows, columns = view.grid
    height, width = view.processed.shape[:2]
    lines = "".join(f'<path d="M0 {height * r / rows}H{width}"/>' for r in range(1, rows))
    lines += "".join(f'<path d="M{width * c / columns} 0V{height}"/>' for c in range(1, columns))
    x0, y0, x1, y1 = (float(edge) for edge in view.boxes[0])
    across, down = (x1 - x0) * size[0] / view.size[0], (y1 - y0) * size[1] / view.size[1]
    notes = "".join(f"<li>{escape(note)}</li>" for note in view.notes)
    said = (
        f"{title}{size[0]}×{size[1]} upload → {width}×{height} pixels → {rows}×{columns} = {rows * columns} patches. "
        f"Each stands for about {across:.0f}×{down:.0f} pixels of the upload."
    )
    picture = (
        f'<img src="{pictures.data_uri(Image.fromarray(view.processed), True)}" alt="The picture as the model sees it">'
    )
    return (
        f'<figure class="seen">{_stack(picture, width, height, lines)}<figcaption>{said}</figcaption>'
        f'<ul class="notes">{notes}</ul></figure>'
    )


def _stack(picture: str, width: int, height: int, shapes: str) -> str:
    """Shapes in the coordinates of a ``width`` × ``height`` picture, over it."""
    canvas = f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">{shapes}</svg>'
    return f'<div class="stack">{picture}{canvas}</div>'


def prompt(exchange: Exchange | None) -> str:
    """The exact token sequence in runs of one origin, image tokens folded."""
    if not exchange or not exchange.answer:
        return NOTHING.format("Here stands exactly what the language model is given, token by token.")
    given = exchange.answer.prompt
    runs = "".join(_run(segment) for segment in given.segments)
    texts = len(given.ids) - given.image_tokens
    return (
        f'<p class="muted">{len(given.ids)} tokens = {given.image_tokens} image + {texts} text, in this order</p>'
        f'<div class="prompt" role="list">{runs}</div>{_raw("The filled template as text", given.text)}'
    )


def _run(segment: Segment) -> str:
    count = segment.stop - segment.start
    text = f"⟨image⟩ × {count}" if segment.kind == "image" else escape(segment.text).replace("\n", NEWLINE)
    return (
        f'<div class="run {escape(segment.kind)}" role="listitem"><span class="origin">'
        f"{ORIGINS.get(segment.kind, segment.kind)}</span><code>{text}</code>"
        f'<span class="count">{count} token{"s" * (count != 1)}</span></div>'
    )


def _raw(title: str, text: str) -> str:
    return f'<details class="raw"><summary>{title}</summary><pre>{escape(text)}</pre></details>'


def text(exchange: Exchange | None) -> str:
    """What Tesseract read: its boxes over the upload, and the words beside them."""
    if not exchange or not exchange.answer:
        return NOTHING.format("With “Read text (OCR)” on, the text found in the picture stands here.")
    if not exchange.ocr:
        return NOTHING.format("“Read text (OCR)” was off for this answer: the model was given the question alone.")
    answer = exchange.answer
    # Text is read in the question's own pictures, which come after those of earlier turns.
    first = len(answer.views) - len(answer.ocrs)
    return "".join(
        _read(answer.views[first + i], exchange.sizes[first + i], result, i) for i, result in enumerate(answer.ocrs)
    )


def _read(view: View, size: tuple[int, int], result: OcrResult, number: int) -> str:
    boxes, words = [], []
    for i, word in enumerate(result.words):
        x0, y0, x1, y1 = word.box
        boxes.append(f'<rect data-box="{number}-{i}" x="{x0}" y="{y0}" width="{x1 - x0}" height="{y1 - y0}"/>')
        confidence = f"confidence {word.confidence:.0f} %"
        words.append(f'<span tabindex="0" data-box="{number}-{i}" title="{confidence}">{escape(word.text)}</span>')
    count = len(result.words)
    told = (
        f"{count} word{'s' * (count != 1)} read in {result.seconds:.2f} s" if count else "No text found in this picture"
    )
    picture = f'<img src="{pictures.data_uri(view.image)}" alt="Picture {number + 1} and the boxes of its words">'
    listed = (
        f'<p class="read">{" ".join(words)}</p>{_raw("The text as given to the model", result.text)}' if count else ""
    )
    return f'<figure class="ocr">{_stack(picture, *size, "".join(boxes))}<p class="muted">{told}</p>{listed}</figure>'


def stages(exchange: Exchange | None) -> str:
    """Every station's time as a bar on one time line, and memory: the model's and the process's apart."""
    if not exchange or not exchange.answer:
        return NOTHING.format("Here stand the time that every stage took, and the memory in use.")
    answer = exchange.answer
    detail = {stage.name: stage.detail for stage in exchange.stages}
    times = {name: getattr(answer.timings, name) for name in STATIONS if name != "ocr" or exchange.ocr}
    total = sum(times.values()) or 1.0
    rows, before = [], 0.0
    for name, seconds in times.items():
        place = f"margin-left:{100 * before / total:.1f}%;width:{max(0.6, 100 * seconds / total):.1f}%"
        rows.append(
            f'<tr><th scope="row">{STATIONS[name]}<small>{escape(detail.get(name, ""))}</small></th>'
            f'<td class="track"><i class="bar" style="{place}"></i></td><td class="figure">{_ms(seconds)}</td></tr>'
        )
        before += seconds
    whole = f"{answer.timings.total:.2f} s in all, first word after {answer.timings.first_token:.2f} s"
    memory = _row("Model", "parameters and buffers, counted", size(answer.memory.parameter_bytes)) + _row(
        "Process", "resident, with Python and libraries, measured", size(answer.memory.process_bytes)
    )
    return (
        f'<table class="stages"><tbody>{"".join(rows)}</tbody></table>'
        f'<p class="muted">{whole} · {escape(answer.model)}</p>'
        f'<h3>Memory</h3><table class="memory"><tbody>{memory}</tbody></table>'
    )


def _row(title: str, explained: str, figure: str) -> str:
    return f'<tr><th scope="row">{title}<small>{explained}</small></th><td class="figure">{figure}</td></tr>'


def size(count: float) -> str:
    """Bytes for people: decimal units, like the sizes of downloads."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _ms(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "< 1 ms"
