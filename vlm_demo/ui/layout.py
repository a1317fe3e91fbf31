"""Layout: the page's components, and which handler each event calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gradio as gr

from vlm_demo.contracts import DEFAULT_OCR, OcrSettings
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.images.remote_pictures import NOTHING, RemotePictures
from vlm_demo.ui import web_pictures
from vlm_demo.ui.components import header
from vlm_demo.ui.components.bound_html import bound_html as _html
from vlm_demo.ui.components.page_components import PageComponents
from vlm_demo.ui.components.templates import render
from vlm_demo.ui.session import Session
from vlm_demo.ui.tabs.chat import transcript
from vlm_demo.ui.tabs.chat.chat_events import Events
from vlm_demo.ui.tabs.compare import compare_tab
from vlm_demo.ui.tabs.contrast import tab as contrast
from vlm_demo.ui.tabs.faq import faq_tab
from vlm_demo.ui.tabs.inspect import panels
from vlm_demo.ui.tabs.learn import learn_tab
from vlm_demo.ui.tabs.mask import mask_tab

POLL = 2.5  # seconds between two polls of the service's status
MAX_FOLLOWING = 16  # pages that may follow a streaming answer after a reload at a time
SWEEP = (300, 3600)  # every 5 minutes, uploads older than an hour that no session has claimed are deleted

# The tabs besides Chat: the name of each, and the function that builds its components and wires their events.
TABS: tuple[tuple[str, Callable[[Events, ModelRegistry], None]], ...] = (
    ("Compare", compare_tab.build),
    ("Contrast", contrast.build),
    ("Learn", learn_tab.build),
    ("Mask", mask_tab.build),
    ("FAQ", faq_tab.build),
)

MAP_EVENTS = ("word", "step", "look", "choose", "patch", "export", "compute", "halt", "redraw")


def build(
    service: ModelRegistry,
    examples: list[transcript.Example],
    ocr_missing: str | None = None,
    remote: RemotePictures = NOTHING,
    ocr_settings: OcrSettings = DEFAULT_OCR,
    languages: Sequence[str] = (),
) -> gr.Blocks:
    """The whole page.

    Args:
        service: the model that all pages share.
        examples: pictures with questions, asked on one press.
        ocr_missing: None where text can be read, else the sentence how to install what is missing.
        remote: from where pictures that a client names by address may be fetched.
        ocr_settings: how text is read by default.
        languages: in which it can be read; of more than one, a page may choose.
    Returns:
        Blocks that are ready for ``launch(**theme.launch_options())``.
    """
    web_pictures.fetch_only(remote)
    new = Session()  # a fresh page's content is rendered into the page, so that nothing jumps
    with gr.Blocks(title="vlm_demo", analytics_enabled=False, delete_cache=SWEEP, fill_width=True) as page:
        with gr.Row(elem_id="top"):
            gr.HTML(header.BRAND, elem_id="brand", apply_default_css=False)
            gr.HTML(header.tabs(("Chat", *(name for name, _ in TABS))), elem_id="tabs", apply_default_css=False)
            chips = _html("chips", binds=("switch",))
        notice = _html("notice")
        download = _html("download")
        with gr.Row(elem_id="columns", elem_classes="tab-page"):
            with gr.Column(elem_id="left", scale=56, min_width=0):
                with gr.Column(elem_id="talk"):
                    conversation = _html(
                        "chat",
                        transcript.conversation(new, examples),
                        ("word", "example", "edited", "choose", "export"),
                    )
                    live = _html("live")
                with gr.Column(elem_id="desk"):
                    status = _html("status", binds=("uploaded", "typed", "arrived"))
                    if ocr_missing:
                        missing = render("ocr_missing", sentence=ocr_missing)
                        gr.HTML(missing, elem_id="no-ocr", apply_default_css=False)
                    with gr.Row(elem_id="controls"):
                        ocr = gr.Checkbox(
                            label="Read text (OCR)",
                            interactive=not ocr_missing,
                            container=False,
                            elem_id="ocr",
                            elem_classes="toggle",
                            min_width=0,
                        )
                        language = gr.Dropdown(
                            list(dict.fromkeys([ocr_settings.languages, *languages])),
                            value=ocr_settings.languages,
                            label="Language of the text",
                            visible=len(languages) > 1 and not ocr_missing,
                            elem_id="ocr-language",
                            container=False,
                            scale=0,
                            min_width=0,
                        )
                        evidence_only = gr.Checkbox(
                            label="Evidence only",
                            container=False,
                            elem_id="evidence",
                            elem_classes="toggle",
                            min_width=0,
                        )
                        page_number = gr.Number(
                            1,
                            label="Page",
                            precision=0,
                            minimum=1,
                            visible=False,
                            elem_id="page-number",
                            scale=0,
                            min_width=0,
                        )
                        retry = _quiet("Retry", "retry")
                        undo = _quiet("Undo", "undo")
                        clear = _quiet("Clear", "clear")
                    composer = gr.MultimodalTextbox(
                        placeholder="Ask about the picture, or drop another one here",
                        label="Question",
                        show_label=False,
                        container=False,
                        file_count="multiple",
                        max_plain_text_length=1_000_000,
                        elem_id="composer",
                    )
            with gr.Column(elem_id="inspector", scale=44, min_width=0), gr.Tabs():
                with gr.Tab("Heatmap"):
                    heatmap = _html("heatmap", panels.heatmap_panel.draw(new), MAP_EVENTS)
                with gr.Tab("What it sees"):
                    sees = _html("sees", panels.model_view_panel.draw(None))
                with gr.Tab("Prompt"):
                    prompt = _html("prompt", panels.prompt_panel.draw(None))
                with gr.Tab("Text"):
                    text = _html("text", panels.ocr_panel.draw(None))
                with gr.Tab("Stages"):
                    stages = _html("stages", panels.stages_panel.draw(None))
                with gr.Tab("Checks"):
                    checks = _html("checks", panels.checks_panel.draw(None), ("choose", "compute"))
        chat_parts = (chips, notice, conversation, live, status, ocr, language, evidence_only, composer)
        parts = PageComponents(*chat_parts, heatmap, sees, prompt, text, stages, checks, download, examples)
        events = Events(service, parts, ocr_settings)
        language.input(
            events.read_in, [language], None, queue=False, trigger_mode="always_last", show_progress="hidden",
            api_visibility="private",
        )  # fmt: skip
        events.page_choice.wire(page_number)
        for name, build_tab in TABS:
            with gr.Column(elem_id=f"{name.lower()}-tab", elem_classes="tab-page", min_width=0):
                build_tab(events, service)
        _wire(page, events, retry, undo, clear)
    return page


def _wire(page: gr.Blocks, events: Events, retry: gr.Button, undo: gr.Button, clear: gr.Button) -> None:
    parts, inspector, deferred, checks = events.parts, events.inspector, events.deferred_maps, events.checks
    all_parts = parts.all()
    toggles = [parts.ocr, parts.evidence_only]
    # Gradio names even private events; by their functions' names they would take those of the endpoints for programs.
    private = {"api_visibility": "private", "api_name": "page"}
    at_once = {"queue": False, "show_progress": "hidden", "outputs": all_parts, **private}
    queued = {**at_once, "queue": True, "trigger_mode": "multiple", "concurrency_limit": 1}
    # All that calls the model shares one queue; the engine decides which requests that left it are batched.
    model_queue = {**queued, "concurrency_id": "model", "concurrency_limit": events.service.at_once}
    latest = {**at_once, "trigger_mode": "always_last"}  # of events without data: Gradio repeats the first one's
    each = {**at_once, "trigger_mode": "multiple"}

    questions = [
        parts.composer.submit(events.ask, [parts.composer, *toggles], **at_once),
        parts.chat.example(events.ask_example, None, **at_once),
        parts.chat.edited(events.ask_edited, toggles, **at_once),
        retry.click(events.retry, toggles, **at_once),
        parts.chat.choose(checks.remedy, None, **at_once),
        parts.checks.choose(checks.remedy, None, **at_once),
    ]
    for event in questions:
        event.then(events.settle, None, **at_once)
    returned = parts.status.arrived(events.arrived, None, **at_once)
    following = {**queued, "concurrency_id": "follow", "concurrency_limit": MAX_FOLLOWING}
    # What the page that was left had not answered or measured yet.
    for event in (*questions, returned.then(events.follow, None, **following)):
        answered = event.then(events.answer, None, **model_queue)
        shown = answered.then(inspector.show_map, None, **at_once)
        judged = shown.then(deferred.ground, None, **model_queue)
        judged.then(checks.finish, None, concurrency_id="checks", **queued)
    parts.checks.compute(checks.ask_blank, None, **at_once).then(checks.blank, None, **model_queue)

    parts.composer.stop(events.stop, None, **at_once).then(events.settle, None, **at_once)
    undo.click(events.undo, None, **at_once)
    clear.click(events.clear, None, **at_once)

    parts.chat.export(events.takeaway.export, None, **each)
    parts.chat.word(inspector.press, None, **each)
    parts.heatmap.word(inspector.press, None, **each)
    parts.heatmap.look(inspector.look, None, **each)
    parts.heatmap.redraw(inspector.redraw, None, **each)
    parts.heatmap.step(inspector.step, None, **each)
    parts.heatmap.choose(inspector.choose, None, **each)
    parts.heatmap.patch(inspector.patch, None, **each)
    computing = parts.heatmap.compute(deferred.compute, None, **at_once)
    computing.then(deferred.work, None, **model_queue)
    parts.heatmap.halt(deferred.halt, None, **at_once)
    parts.heatmap.export(inspector.export, None, **each)

    parts.chips.switch(events.switch, None, concurrency_id="switch", **queued)
    parts.status.uploaded(events.tick, [parts.composer], **at_once)
    parts.status.typed(events.typed, None, **latest)
    gr.Timer(POLL).tick(events.tick, [parts.composer], **at_once)
    page.load(events.opened, None, **at_once)
    page.unload(events.closed)


def _quiet(label: str, name: str) -> gr.Button:
    return gr.Button(label, variant="secondary", size="sm", elem_id=name, elem_classes="quiet", scale=0, min_width=0)
