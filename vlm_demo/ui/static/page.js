/* The page's behaviour: presses on data-act elements become Gradio events, the pressed word is marked, the conversation
   scrolls to its end. Holds no state but what is on the page, and the question that is being edited. */
window.vlm = (() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const tab = () => document.documentElement.dataset.tab ?? "chat";
  const narrow = () => matchMedia("(max-width: 820px)").matches;
  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  function openTab(name) {
    const tabs = all("#inspector button[role=tab], #inspector .overflow-dropdown button");
    const tab = tabs.find((button) => button.textContent.trim() === name);
    if (tab && tab.getAttribute("aria-selected") !== "true") tab.click();
    if (narrow()) glide(document.querySelector("#inspector .lens") ?? document.getElementById("inspector"));
  }

  /* Scroll no further than needed to show all of an element between the window's top and the composer, which covers the
     page's end: the narrow page is one column. */
  function glide(element) {
    const box = element.getBoundingClientRect();
    const foot = document.getElementById("desk").getBoundingClientRect().top - 8;
    const by = box.top < 8 || box.height > foot - 8 ? box.top - 8 : Math.max(0, box.bottom - foot);
    if (by) scrollBy({ top: by, behavior: still() ? "auto" : "smooth" });
  }

  function mark(turn, word) {
    for (const button of all("#chat .word")) {
      button.setAttribute("aria-pressed", button.dataset.turn === turn && button.dataset.word === word);
    }
  }

  let draft = null; // of a question: its turn, what it was, and its new words so far

  function show(form, open, words) {
    form.closest(".asked").classList.toggle("editing", open);
    form.hidden = !open;
    form.querySelector("textarea").value = words;
  }

  function rewrite(turn, open) {
    const form = turn.querySelector("form");
    const area = form.querySelector("textarea");
    draft = open ? { turn: form.dataset.turn, question: area.defaultValue, words: area.defaultValue } : null;
    show(form, open, area.defaultValue);
    if (open) area.focus();
    else turn.querySelector(".edit").focus();
  }

  /* The conversation has been drawn again in place: what is being rewritten stays open, if it is still there. */
  function redrawn(chat) {
    for (const asked of all(".asked.editing", chat)) asked.classList.remove("editing");
    const form = draft && chat.querySelector(`form[data-turn="${draft.turn}"]`);
    const area = form?.querySelector("textarea");
    if (area?.defaultValue !== draft?.question) draft = null;
    if (!draft) return;
    show(form, true, draft.words);
    if (document.activeElement === document.body) area.focus();
  }

  const PAUSE = 150; // milliseconds without a move of the opacity's slider, after which it is sent

  /* Of several equal elements, such as columns, the one that is meant. */
  const of = ({ dataset }) => (dataset.of === undefined ? {} : { of: +dataset.of });

  const acts = {
    word(button, send) {
      mark(button.dataset.turn, button.dataset.word);
      if (button.closest("#chat")) openTab("Heatmap");
      send("word", { turn: +button.dataset.turn, word: +button.dataset.word });
    },
    example(button, send) {
      send("example", { index: +button.dataset.index });
      if (tab() === "chat") rest(); // the button is about to go, and the focus must not go with it
    },
    edit: (button) => rewrite(button.closest(".turn"), true),
    cancel: (button) => rewrite(button.closest(".turn"), false),
    /* A link under an answer is about that answer, which the inspector shows then, if it has a word. */
    open(button, send) {
      const turn = button.closest(".turn");
      const word = turn?.querySelector(".word");
      if (word && !turn.querySelector(".word[aria-pressed=true]")) {
        mark(word.dataset.turn, word.dataset.word);
        send("word", { turn: +word.dataset.turn, word: +word.dataset.word });
      }
      openTab(button.dataset.tab);
    },
    step: (button, send) => send("step", { by: +button.dataset.by }),
    choose: (button, send) => send("choose", { [button.dataset.name]: JSON.parse(button.dataset.value), ...of(button) }),
    patch(button, send, event) {
      const box = button.getBoundingClientRect();
      const keyed = event.detail === 0; // Enter or Space: no place was pointed at
      const at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      send("patch", { picture: +button.dataset.picture, at: keyed ? null : at });
    },
    export: (button, send) => send("export", { kind: button.dataset.kind, picture: +button.dataset.picture }),
    /* The picture next to the button, as the page holds it. */
    keep(button) {
      const { src } = button.closest(".keepable").querySelector("img");
      const anchor = document.createElement("a");
      anchor.href = src;
      anchor.download = `${button.dataset.file}.${src.startsWith("data:image/png") ? "png" : "jpg"}`;
      anchor.click();
    },
    compute: (button, send) => send("compute", {}),
    halt: (button, send) => send("halt", {}),
    without: (button, send) => send("without", vlm.mask.marked()),
    wipe: () => vlm.mask.wipe(),
    play: (button, send) => vlm.player.press(send),
  };

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  /* Arrow keys: the pressed patch moves over its picture, and from head to head in the table. */
  function arrow(event, send) {
    const move = ARROWS[event.key];
    const map = move && event.target.closest(".map");
    const head = move && event.target.closest(".head");
    if (!map && !head) return;
    event.preventDefault();
    if (map) return send("patch", { picture: +map.dataset.picture, move });
    const heads = all(".head", head.parentElement);
    const columns = +head.parentElement.style.getPropertyValue("--columns");
    const at = heads.indexOf(head);
    const column = (at % columns) + move[0];
    const next = heads[at + move[0] + move[1] * columns];
    if (next && column >= 0 && column < columns) next.focus();
  }

  /* A file that the server made in memory: pass it to the browser as a download, and drop it. */
  function save(link) {
    const [head, content] = link.getAttribute("href").split(",");
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    const url = URL.createObjectURL(new Blob([bytes], { type: head.slice(5, head.indexOf(";")) }));
    const anchor = document.createElement("a");
    anchor.href = url;
    anchor.download = link.download;
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    link.removeAttribute("href");
  }

  /* Move the focus when the focused element is removed: to the composer, or where that would open an on-screen keyboard,
     to the conversation. */
  function rest() {
    const talk = document.getElementById("talk");
    talk.tabIndex = -1;
    const place = matchMedia("(pointer: coarse)").matches ? talk : document.querySelector("#composer textarea");
    (place ?? talk).focus({ preventScroll: true });
  }

  /* By this secret a tab finds its conversation after a reload. A duplicated tab has a copy of the secret, but was not
     left: it gets a new one. */
  function tabSecret() {
    const left = sessionStorage.getItem("left") || document.wasDiscarded;
    sessionStorage.removeItem("left");
    let secret = left && sessionStorage.getItem("secret");
    if (!secret) {
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      secret = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      sessionStorage.setItem("secret", secret);
    }
    return secret;
  }
  addEventListener("pagehide", () => sessionStorage.setItem("left", "1"));
  addEventListener("pageshow", (event) => event.persisted && sessionStorage.removeItem("left"));

  /* The toggles are in the address, so that a link to the page sets them. */
  function keepToggles() {
    const address = new URL(location.href);
    for (const name of ["ocr", "evidence"]) {
      const box = document.querySelector(`#${name} input`);
      if (box?.checked) address.searchParams.set(name, "1");
      else if (box) address.searchParams.delete(name);
    }
    if (address.href !== location.href) history.replaceState(history.state, "", address);
  }
  document.addEventListener("change", (event) => event.target.closest("#ocr, #evidence") && keepToggles());

  function bind(element, trigger, watch, events) {
    /* Requests may overtake each other: by the time the server knows which was sent last. */
    const now = () => performance.timeOrigin + performance.now();
    const send = (name, data) => events.includes(name) && trigger(name, { ...data, sent: now() });
    if (events.includes("shown")) {
      const page = element.closest(".tab-page").id;
      const update = () => page === `${tab()}-tab` && send("shown", {});
      addEventListener("tabshown", update);
      update();
    }
    if (events.includes("uploaded")) vlm.composer.uploaded = () => trigger("uploaded", {});
    if (events.includes("arrived")) trigger("arrived", { tab: tabSecret() });
    if (events.includes("typed")) vlm.composer.typed = () => element.querySelector("p") && trigger("typed", {});
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-act]");
      if (button) acts[button.dataset.act]?.(button, send, event);
    });
    element.addEventListener("submit", (event) => {
      event.preventDefault();
      draft = null;
      const area = event.target.querySelector("textarea");
      send("edited", { turn: +event.target.dataset.turn, text: area.value });
      rest();
    });
    element.addEventListener("keydown", (event) => {
      arrow(event, send);
      if (event.target.tagName !== "TEXTAREA" || event.isComposing) return; // Enter may accept what an IME proposes
      if (event.key === "Escape") rewrite(event.target.closest(".turn"), false);
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        event.target.form.requestSubmit();
      }
    });
    let look = {}; // what was changed and not sent yet: a reply that comes meanwhile sets the slider back
    let pause = 0;
    element.addEventListener("input", ({ target }) => {
      if (draft && target.closest(".rewrite")) draft.words = target.value;
      if (target.dataset.act !== "look") return;
      look[target.name] = target.type === "checkbox" ? target.checked : +target.value;
      clearTimeout(pause);
      pause = setTimeout(() => {
        send("look", look);
        look = {};
      }, PAUSE);
    });
    element.addEventListener("change", ({ target }) => {
      const { name, value } = target;
      if (target.dataset.act === "switch") {
        send("switch", { name, value });
        target.value = target.dataset.value; // what answers, until another one does
      }
      if (target.dataset.act === "choose") {
        send("choose", { [name]: target.type === "checkbox" ? target.checked : value, ...of(target) });
      }
    });
    let newest = 0;
    watch("value", () => {
      const drawn = +element.querySelector("[data-drawn]")?.dataset.drawn;
      if (drawn < newest) send("redraw", {}); // an older reply has come after a newer one
      if (drawn) newest = drawn;
      const maps = element.querySelector(".maps");
      if (maps) {
        mark(maps.dataset.turn, maps.dataset.word);
        vlm.player.mark();
      }
      vlm.folds.drawn(element);
      for (const link of all("a[download][href]", element)) save(link);
      for (const choice of all("select, input[data-act=choose][data-value]", element)) choice.value = choice.dataset.value;
      for (const box of all("input[data-checked]", element)) box.checked = box.dataset.checked === "true";
      if (element.closest("#chat")) {
        redrawn(element);
        setTimeout(keepToggles, 50); // an example sets its own
      }
      if (element.closest("#chat, #status")) vlm.composer.replied();
      if (element.closest("#mask-paper")) vlm.mask.drawn();
    });
  }

  /* Narrow: the way back from the inspector to the answer that it shows, while that is out of sight. */
  function back() {
    const button = document.createElement("button");
    button.type = "button";
    button.id = "back";
    button.textContent = "↑ Answer";
    button.hidden = true;
    const word = () => document.querySelector("#chat .word[aria-pressed=true]");
    const update = () => {
      const away = narrow() && word() && word().getBoundingClientRect().bottom < 0;
      button.hidden = !away;
    };
    button.addEventListener("click", () => {
      const gone = word();
      gone?.focus({ preventScroll: true });
      gone?.scrollIntoView({ behavior: still() ? "auto" : "smooth", block: "center" });
    });
    addEventListener("scroll", update, { passive: true });
    addEventListener("resize", update);
    return button;
  }

  /* The conversation keeps its end in sight, unless the reader has scrolled up. */
  function follow(talk) {
    let pinned = true;
    let turns = 0;
    talk.addEventListener("scroll", () => {
      pinned = talk.scrollTop + talk.clientHeight > talk.scrollHeight - 60;
    });
    for (const kind of ["wheel", "touchmove"]) addEventListener(kind, () => narrow() && (pinned = false), { passive: true });
    new MutationObserver(() => {
      const now = talk.querySelectorAll(".turn").length;
      if (now > turns) pinned = true; // something new was asked
      turns = now;
      if (!now || !pinned) return;
      if (narrow()) document.querySelector("#live .answer")?.scrollIntoView({ block: "nearest" });
      else talk.scrollTop = talk.scrollHeight;
    }).observe(talk, { childList: true, subtree: true, characterData: true });
  }

  function whenThere(selector, run) {
    const update = () => {
      const found = document.querySelector(selector);
      if (found) run(found);
      return !!found;
    };
    if (update()) return;
    const observer = new MutationObserver(() => update() && observer.disconnect());
    observer.observe(document.documentElement, { childList: true, subtree: true });
  }

  whenThere("#talk", follow);
  whenThere("#desk", (desk) => desk.append(back()));

  /* The narrow page ends above the composer, which covers its foot and grows with its content. */
  whenThere("#desk", (desk) => {
    const style = document.documentElement.style;
    new ResizeObserver(() => style.setProperty("--desk", `${desk.offsetHeight}px`)).observe(desk);
  });

  /* Text found in the picture: a word and its box point at each other. */
  for (const [kind, on] of [["pointerover", true], ["pointerout", false], ["focusin", true], ["focusout", false]]) {
    document.addEventListener(kind, (event) => {
      const box = event.target.closest?.("[data-box]")?.dataset.box;
      if (box) all(`[data-box="${box}"]`).forEach((part) => part.classList.toggle("lit", on));
    });
  }
  return { bind, whenThere };
})();
