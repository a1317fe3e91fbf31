"""The page in a real browser, against the running app: what a stranger does, and what may go wrong."""

from __future__ import annotations

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from tests.kit.browsing import (
    COMPOSER,
    Held,
    answered,
    ask,
    dependency,
    finish,
    open_page,
    predicts,
    speaking,
    thumbnails,
    upload,
)

WATCH_STREAM = """() => {
  window.streamed = new Set();
  new MutationObserver(() => {
    const words = document.querySelector('#live .words');
    if (words) window.streamed.add(words.textContent.length);
  }).observe(document.getElementById('live'), { childList: true, subtree: true, characterData: true });
}"""


def overlay(page: Page) -> str:
    return page.get_attribute("img.overlay", "src")


def test_upload_ask_and_see_where_the_model_looked(visitor, app, picture):
    open_page(visitor, app.url)
    upload(visitor, picture)
    ask(visitor, "Describe the picture.")
    expect(visitor.locator(".bubble")).to_contain_text("Describe the picture.")
    expect(visitor.locator(".bubble img")).to_have_count(1)
    finish(visitor)
    answered(visitor)
    expect(visitor.locator(".truth").first).to_contain_text("image tokens")
    loaded = visitor.locator(".chip select").last.evaluate("menu => menu.selectedOptions[0].textContent.trim()")
    expect(visitor.locator(".truth").first).to_contain_text(f", {loaded.split(' · ')[0]}")  # the precision

    words = visitor.locator(".turn .word")
    visitor.wait_for_selector("img.overlay")
    before = overlay(visitor)
    pressed = visitor.locator(".word[aria-pressed=true]")
    expect(pressed).to_have_count(1)
    other = next(i for i in range(words.count()) if words.nth(i).get_attribute("aria-pressed") == "false")
    words.nth(other).click()
    visitor.wait_for_function("src => document.querySelector('img.overlay').src !== src", arg=before)
    expect(words.nth(other)).to_have_attribute("aria-pressed", "true")
    expect(pressed).to_have_count(1)


def test_the_inspector_plays_words_and_answers_presses_on_heads_and_patches(visitor, app, picture):
    open_page(visitor, app.url)
    upload(visitor, picture)
    ask(visitor, "Describe the picture.")
    finish(visitor)
    answered(visitor)
    visitor.wait_for_selector("img.overlay")
    count = visitor.locator(".turn .word").count()

    visitor.locator(".share").nth(max(0, count - 3)).click()
    expect(visitor.locator(".turn .word").nth(max(0, count - 3))).to_have_attribute("aria-pressed", "true")
    visitor.click(".play")
    expect(visitor.locator(".play")).to_have_attribute("aria-pressed", "true")
    expect(visitor.locator(".turn .word").last).to_have_attribute("aria-pressed", "true")
    expect(visitor.locator(".play")).to_have_attribute("aria-pressed", "false")  # it stops at the end

    # Presses that are faster than the replies, and a reply that comes after a newer one: the last press counts.
    words, maps, opacity = (visitor.locator(name) for name in (".turn .word", ".maps", "[name=opacity]"))
    words.evaluate_all("words => { words.at(-1).click(); words[0].click(); }")
    expect(maps).to_have_attribute("data-word", "0")
    opacity.evaluate(
        "slider => [55, 20].forEach((value) => { slider.value = value; "
        "slider.dispatchEvent(new Event('input', { bubbles: true })); })"
    )
    expect(opacity).to_have_attribute("value", "20")
    held = Held(visitor, dependency(visitor, "chat", "word"))
    words.last.click()
    held.reply()
    held.held = False
    words.nth(1).click()
    expect(maps).to_have_attribute("data-word", "1")
    redraw = dependency(visitor, "heatmap", "redraw")
    with visitor.expect_response(lambda response: predicts(response.request, redraw)):
        held.let_go()
    expect(maps).to_have_attribute("data-word", "1")

    before = overlay(visitor)
    visitor.locator(".head").last.click()
    expect(visitor.locator(".head").last).to_have_attribute("aria-pressed", "true")
    visitor.wait_for_function("src => document.querySelector('img.overlay').src !== src", arg=before)
    visitor.locator(".head").last.press("ArrowLeft")
    expect(visitor.locator(".head").nth(visitor.locator(".head").count() - 2)).to_be_focused()
    visitor.locator(".method button").click()
    expect(visitor.locator(".head[aria-pressed=true]")).to_have_count(0)

    visitor.locator(".map").click()
    expect(visitor.locator(".map rect")).to_have_count(1)
    expect(visitor.locator(".used li").first).to_contain_text("%")
    place = visitor.get_attribute(".map rect", "x")
    visitor.locator(".map").press("ArrowRight")
    expect(visitor.locator(".map rect")).not_to_have_attribute("x", place)
    visitor.locator(".used button[data-name=patch]").click()
    expect(visitor.locator(".map rect")).to_have_count(0)


def test_the_map_can_be_saved_as_picture_and_array(visitor, app, picture, tmp_path):
    open_page(visitor, app.url)
    upload(visitor, picture)
    ask(visitor, "What shape is at the left?")
    finish(visitor)
    answered(visitor)
    visitor.wait_for_selector("img.overlay")
    for name, opened in (("PNG", lambda path: np.asarray(Image.open(path))), ("array", np.load)):
        with visitor.expect_download() as download:
            visitor.get_by_role("button", name=name, exact=True).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        assert opened(path).shape[:2] == (240, 500)


def test_the_page_says_whether_the_answer_rests_on_the_picture(visitor, app, picture):
    open_page(visitor, app.url)
    upload(visitor, picture)
    ask(visitor, "What shape is red?")
    finish(visitor)
    answered(visitor)
    if visitor.locator(".truth").first.inner_text().startswith("stopped"):
        return  # a model that goes on and on is not judged
    expect(visitor.locator(".badge")).to_have_count(1)
    assert visitor.get_attribute(".badge", "title")


def test_a_slow_map_can_be_stopped_while_it_is_computed(visitor, app, picture):
    open_page(visitor, app.url)
    upload(visitor, picture)
    ask(visitor, "What shape is red?")
    finish(visitor)
    answered(visitor)
    visitor.wait_for_selector("select[name=method]")
    visitor.select_option("select[name=method]", "occlusion")
    visitor.click("[data-act=compute]")
    visitor.click("[data-act=halt]")
    expect(visitor.locator("[data-act=compute]")).to_have_count(1)


def test_one_press_on_an_example_asks_it(visitor, app):
    open_page(visitor, app.url)
    question = visitor.locator(".example span").first.inner_text().splitlines()[0]
    visitor.locator(".example").first.click()
    expect(visitor.locator(".bubble p")).to_have_text(question)
    finish(visitor)
    answered(visitor)


def test_words_of_the_answer_can_be_reached_and_pressed_by_keyboard(visitor, slow_app, picture):
    open_page(visitor, slow_app.url)
    upload(visitor, picture)
    ask(visitor, "What?")
    speaking(visitor)
    visitor.click(".stop-button")
    answered(visitor)
    visitor.wait_for_selector("img.overlay")
    before = overlay(visitor)
    last = visitor.locator(".turn .word").last
    last.focus()
    visitor.keyboard.press("Enter")
    expect(last).to_have_attribute("aria-pressed", "true")
    visitor.wait_for_function("src => document.querySelector('img.overlay').src !== src", arg=before)
    now = overlay(visitor)
    visitor.get_by_label("Patch grid").press("Space")
    visitor.wait_for_function("src => document.querySelector('img.overlay').src !== src", arg=now)


def test_words_stream_and_stop_ends_the_computing(visitor, slow_app, picture):
    open_page(visitor, slow_app.url)
    expect(visitor.locator(".stop-button")).to_have_count(0)
    visitor.evaluate(WATCH_STREAM)
    upload(visitor, picture)
    ask(visitor, "Describe the picture at length.")
    visitor.wait_for_function("() => window.streamed.size >= 4")
    visitor.click(".stop-button")
    answered(visitor)
    expect(visitor.locator(".truth").first).to_contain_text("stopped")
    expect(visitor.locator(".stop-button")).to_have_count(0)
    assert visitor.locator(".turn .word").count() > 0  # the answer so far stays

    ask(visitor, "And now?")  # the next question starts at once
    speaking(visitor)
    visitor.click(".stop-button")
    answered(visitor, 2)


def test_what_is_typed_and_added_while_an_answer_comes_stays(visitor, slow_app, picture, other):
    open_page(visitor, slow_app.url)
    upload(visitor, picture)
    ask(visitor, "Describe the picture at length.")
    speaking(visitor)
    upload(visitor, other)
    visitor.fill(COMPOSER, "the next question")
    visitor.click(".stop-button")
    answered(visitor)
    visitor.wait_for_selector("img.overlay")
    expect(visitor.locator(COMPOSER)).to_have_value("the next question")
    thumbnails(visitor, 1)


def test_bad_uploads_and_empty_questions_keep_the_chat(visitor, app, picture, tmp_path):
    open_page(visitor, app.url)
    ask(visitor, "What is this?")
    expect(visitor.locator("#status")).to_contain_text("no picture")
    upload(visitor, picture)
    ask(visitor, "What is this?")
    finish(visitor)
    answered(visitor)

    bad = tmp_path / "holiday.jpg"
    bad.write_text("this is no picture")
    upload(visitor, bad)
    ask(visitor, "And this?")
    expect(visitor.locator("#status")).to_contain_text("not a picture")
    visitor.wait_for_timeout(1500)  # that the bad file is gone from the composer takes no error away
    expect(visitor.locator("#status")).to_contain_text("not a picture")
    expect(visitor.locator(".turn")).to_have_count(1)
    expect(visitor.locator(COMPOSER)).to_have_value("And this?")  # only the bad file is gone
    thumbnails(visitor, 0)

    ask(visitor, "   ")
    expect(visitor.locator("#status")).to_contain_text("empty")
    ask(visitor, "Is there a circle?")
    finish(visitor)
    answered(visitor, 2)
    first = visitor.locator(".turn").first
    first.locator("[data-act=open][data-tab='What it sees']").click()  # under the first answer, about that one
    expect(first.locator(".word[aria-pressed=true]")).to_have_count(1)
    expect(visitor.locator(".maps")).to_have_attribute("data-turn", "0")


def test_what_people_type_is_text_and_toggles_reach_the_prompt(visitor, app, picture):
    open_page(visitor, app.url)
    upload(visitor, picture)
    visitor.check("#evidence input")
    ask(visitor, "<b>bold</b> <image> </s>?")
    finish(visitor)
    answered(visitor)
    expect(visitor.locator(".bubble p")).to_have_text("<b>bold</b> <image> </s>?")
    expect(visitor.locator(".truth").first).to_contain_text("evidence only")
    visitor.get_by_role("tab", name="Prompt").click()
    expect(visitor.locator(".run.rule")).to_contain_text("unknown if it is unclear")
    expect(visitor.locator(".run.question")).to_contain_text("<b>bold</b> <image> </s>?")
    expect(visitor.locator(".run.image")).to_have_count(1)


def test_marks_of_template_languages_are_text(visitor, app, picture):
    """Gradio fills its own templates, Handlebars and JavaScript's, in the browser."""
    question = "${document.title = 'taken'} {{value}} {{{value}}} {{#if value}} \\${1}` ${alert(1)}"
    open_page(visitor, app.url)
    upload(visitor, picture)
    ask(visitor, question)
    finish(visitor)
    answered(visitor)
    expect(visitor.locator(".bubble p")).to_have_text(question)
    visitor.get_by_role("tab", name="Prompt").click()
    expect(visitor.locator(".run.question")).to_contain_text(question)
    visitor.click("#undo")
    expect(visitor.locator(COMPOSER)).to_have_value(question)
    assert visitor.title() == "vlm_demo"


def test_a_question_that_is_being_rewritten_survives_the_badge(visitor, app, picture):
    open_page(visitor, app.url)
    visitor.evaluate("""() => new MutationObserver((_, observer) => {
      if (!document.querySelector('.turn .answer .truth')) return;
      observer.disconnect();
      window.early = !document.querySelector('.badge');
      document.querySelector('.asked .edit').click();
      const area = document.querySelector('.rewrite textarea');
      area.value = 'How many squares?';
      area.dispatchEvent(new Event('input', { bubbles: true }));
    }).observe(document.getElementById('chat'), { childList: true, subtree: true })""")
    upload(visitor, picture)
    ask(visitor, "What shape is red?")
    expect(visitor.locator(".badge")).to_have_count(1)
    assert visitor.evaluate("window.early")
    expect(visitor.locator(".rewrite textarea")).to_be_visible()
    expect(visitor.locator(".rewrite textarea")).to_have_value("How many squares?")
    visitor.press(".rewrite textarea", "Enter")
    expect(visitor.locator(".bubble p")).to_have_text("How many squares?")


def test_undo_edit_and_clear(visitor, app, picture):
    open_page(visitor, app.url)
    upload(visitor, picture)
    ask(visitor, "How many circles?")
    finish(visitor)
    answered(visitor)
    visitor.hover(".asked")
    visitor.click(".asked .edit")
    visitor.fill(".rewrite textarea", "How many squares?")
    visitor.press(".rewrite textarea", "Enter")
    expect(visitor.locator(".bubble p")).to_have_text("How many squares?")
    finish(visitor)
    answered(visitor)
    visitor.click("#undo")
    expect(visitor.locator(COMPOSER)).to_have_value("How many squares?")
    thumbnails(visitor, 1)
    visitor.click("#clear")
    visitor.wait_for_selector(".welcome")
    thumbnails(visitor, 0)


def test_two_pictures_have_a_map_each(visitor, app, picture):
    open_page(visitor, app.url)
    upload(visitor, picture, picture)
    submit = dependency(visitor, "composer", "submit")
    for _ in range(2):  # refused alike, and at once: no picture is being opened then
        with visitor.expect_response(lambda response: predicts(response.request, submit)) as refused:
            visitor.press(COMPOSER, "Enter")
        refused.value.finished()
    visitor.locator("#composer .upload-button").press("Enter")
    visitor.wait_for_timeout(1100)
    expect(visitor.locator("#opening")).to_be_hidden()
    ask(visitor, "What is in the pictures?")
    finish(visitor)
    answered(visitor)
    expect(visitor.locator("img.overlay")).to_have_count(2)
