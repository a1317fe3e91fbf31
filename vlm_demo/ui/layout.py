"""Layout: where everything stands on the page, and which event each press sets off."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gradio as gr

from vlm_demo.contracts import DEFAULT_OCR, OcrSettings
from vlm_demo.engines.registry import ModelRegistry
from vlm_demo.engines.scheduler import BATCH
from vlm_demo.images.remote import NOTHING, RemotePictures
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
from vlm_demo.ui.tabs.learn import place as learn_tab
from vlm_demo.ui.tabs.mask import mask_tab

POLL = 2.5  # seconds between two looks of a page at the service's status
FOLLOWING = 16  # pages that may come back to a growing answer at a time
SWEEP = (300, 3600)  # every 5 minutes, uploads that are older than an hour and that no session cared for are deleted

# The tabs beside Chat: the name of each, and what puts its components on the page and sets off their events.
TABS: tuple[tuple[str, Callable[[Events, ModelRegistry], None]], ...] = (
    ("Compare", compare_tab.place),
    ("Contrast", contrast.place),
    ("Learn", learn_tab.place),
    ("Mask", mask_tab.place),
    ("FAQ", faq_tab.place),
)

MAP_EVENTS = ("word", "step", "look", "choose", "patch", "export", "compute", "halt")


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
        remote: the web, as far as pictures on it may be fetched that a client names.
        ocr_settings: how text is read where nobody chooses.
        languages: in which it can be read; of more than one, a page may choose.
    Returns:
        Blocks that are ready for ``launch(**theme.launch_options())``.
    """
    web_pictures.fetch_only(remote)
    new = Session()  # what a page that was just opened shows stands in it already, so that nothing jumps
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
        talk = (chips, notice, conversation, live, status, ocr, evidence_only, composer)
        parts = PageComponents(*talk, heatmap, sees, prompt, text, stages, checks, download, examples)
        events = Events(service, parts, ocr_settings)
        language.input(events.read_in, [language], None, queue=False, show_progress="hidden", api_visibility="private")
        events.paging.hear(page_number)
        for name, place in TABS:
            with gr.Column(elem_id=f"{name.lower()}-tab", elem_classes="tab-page", min_width=0):
                place(events, service)
        _wire(page, events, retry, undo, clear)
    return page


def _wire(page: gr.Blocks, events: Events, retry: gr.Button, undo: gr.Button, clear: gr.Button) -> None:
    parts, looking, again, checking = events.parts, events.looking, events.again, events.checking
    every = parts.all()
    toggles = [parts.ocr, parts.evidence_only]
    # Gradio names even private events; by their functions' names they would take those of the endpoints for programs.
    private = {"api_visibility": "private", "api_name": "page"}
    at_once = {"queue": False, "show_progress": "hidden", "outputs": every, **private}
    queued = {**at_once, "queue": True, "trigger_mode": "multiple", "concurrency_limit": 1}
    # All that asks the model shares one queue; which of those that have left it compute together, the engine says.
    asking = {**queued, "concurrency_id": "model", "concurrency_limit": BATCH}
    latest = {**at_once, "trigger_mode": "always_last"}
    each = {**at_once, "trigger_mode": "multiple"}

    asked = [
        parts.composer.submit(events.ask, [parts.composer, *toggles], **at_once),
        parts.chat.example(events.ask_example, None, **at_once),
        parts.chat.edited(events.ask_edited, toggles, **at_once),
        retry.click(events.retry, toggles, **at_once),
        parts.chat.choose(checking.remedy, None, **at_once),
        parts.checks.choose(checking.remedy, None, **at_once),
    ]
    for event in asked:
        event.then(events.settle, None, **at_once)
        answered = event.then(events.answer, None, **asking)
        shown = answered.then(looking.show_map, None, **at_once)
        judged = shown.then(again.ground, None, **asking)
        judged.then(checking.finish, None, concurrency_id="checks", **queued)
    parts.checks.compute(checking.blank, None, **asking)

    parts.composer.stop(events.stop, None, **at_once)
    undo.click(events.undo, None, **at_once)
    clear.click(events.clear, None, **at_once)

    parts.chat.export(events.takeaway.export, None, **each)
    parts.chat.word(looking.press, None, **latest)
    parts.heatmap.word(looking.press, None, **latest)
    parts.heatmap.look(looking.look, None, **latest)
    parts.heatmap.step(looking.step, None, **each)
    parts.heatmap.choose(looking.choose, None, **each)
    parts.heatmap.patch(looking.patch, None, **each)
    computing = parts.heatmap.compute(again.compute, None, **at_once)
    computing.then(again.work, None, **asking)
    parts.heatmap.halt(again.halt, None, **at_once)
    parts.heatmap.export(looking.export, None, **each)

    parts.chips.switch(events.switch, None, concurrency_id="switch", **queued)
    parts.status.uploaded(events.tick, [parts.composer], **at_once)
    parts.status.typed(events.typed, None, **latest)
    gr.Timer(POLL).tick(events.tick, [parts.composer], **at_once)
    page.load(events.opened, None, **at_once)
    back = parts.status.arrived(events.arrived, None, **at_once)
    back.then(events.follow, None, concurrency_id="follow", **{**queued, "concurrency_limit": FOLLOWING})
    page.unload(events.closed)


def _quiet(label: str, name: str) -> gr.Button:
    return gr.Button(label, variant="secondary", size="sm", elem_id=name, elem_classes="quiet", scale=0, min_width=0)
