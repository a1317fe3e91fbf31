/* Learn: stages that light up and scroll to their details, Replay, and arithmetic on numbers that are on the page: another
   word of the logit lens, another temperature of the next word. Requests only an answer's anatomy, when the tab is
   opened, and losses, on a press. */
window.vlmLearn = (() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  const open = () => location.hash === "#learn";
  const LONG = 5000; // milliseconds that a replay takes
  const AGAIN = 6000; // milliseconds between two polls for a pending result
  const SHORT = 60; // and a stage in it at least, so that it is seen

  function light(name) {
    for (const part of all("#learn-stages [data-stage]")) part.classList.toggle("lit", part.dataset.stage === name);
  }

  function press(name) {
    for (const part of all("#learn-stages .stage")) part.setAttribute("aria-pressed", part.dataset.stage === name);
  }

  const acts = {
    stage(button) {
      replay.stop();
      press(button.dataset.stage);
      light(button.dataset.stage);
      for (const lit of all("#learn-tab .told")) lit.classList.remove("told");
      const target = document.getElementById(button.dataset.target);
      if (!target) return;
      target.classList.add("told");
      target.scrollIntoView({ behavior: still() ? "auto" : "smooth", block: "nearest" });
    },
    replay: () => (replay.timer ? replay.stop() : replay.start()),
    choose: (button, send) => send("choose", { [button.dataset.name]: JSON.parse(button.dataset.value) }),
    turn(button) {
      word(+document.querySelector("#learn-lens [data-word], #learn-features [data-word]").dataset.word + +button.dataset.by);
    },
    word: (button) => word(+button.dataset.word),
    more(button) {
      const shown = button.getAttribute("aria-expanded") !== "true";
      button.dataset.label ??= button.textContent;
      button.setAttribute("aria-expanded", shown);
      button.textContent = shown ? "fewer" : button.dataset.label;
      for (const row of all("[data-more]", button.parentElement)) row.hidden = !shown;
    },
  };

  /* Each stage is lit as long as its time is of the whole. */
  const replay = {
    timer: 0,
    start() {
      const stages = all("#learn-stages .stage").filter((stage) => +stage.dataset.seconds > 0);
      const whole = stages.reduce((sum, stage) => sum + +stage.dataset.seconds, 0);
      if (!whole) return;
      press("");
      const pace = LONG / 1000 / whole;
      document.querySelector("#learn-stages .pace").textContent =
        pace > 1.5 ? `${pace.toFixed(0)} times slower than it was` : pace < 0.67 ? `${(1 / pace).toFixed(0)} times faster than it was` : "as fast as it was";
      const step = (index) => {
        if (index === stages.length) return this.stop();
        const stage = stages[index];
        light(stage.dataset.stage);
        this.timer = setTimeout(() => step(index + 1), Math.max(SHORT, (LONG * stage.dataset.seconds) / whole));
      };
      step(0);
      this.mark();
    },
    stop() {
      clearTimeout(this.timer);
      this.timer = 0;
      light("");
      this.mark();
    },
    mark() {
      const button = document.querySelector("#learn-stages .replay");
      if (!button) return;
      button.setAttribute("aria-pressed", !!this.timer);
      button.textContent = this.timer ? "■ Stop" : "▷ Replay";
      if (!this.timer) document.querySelector("#learn-stages .pace").textContent = "";
    },
  };

  const parsed = (element, name) => element && JSON.parse(element.dataset[name]);
  const percent = (share) => `${(100 * share).toFixed(1)} %`;

  /* Another word of the answer: its values are in the numbers of both panels. */
  function word(index) {
    const lens = document.querySelector("#learn-lens [data-lens]");
    const next = document.querySelector("#learn-features [data-next]");
    const numbers = parsed(lens, "lens");
    if (!numbers || index < 0 || index >= numbers.words.length) return;
    for (const panel of [lens, next]) if (panel) panel.dataset.word = index;
    for (const name of all("#learn-lens .now, #learn-features .now")) name.textContent = numbers.words[index];
    for (const button of all("[data-act=turn]", lens)) {
      button.disabled = +button.dataset.by < 0 ? index === 0 : index === numbers.words.length - 1;
    }
    lens.querySelector(".finding").textContent = numbers.findings[index];
    all("tbody tr", lens).forEach((row, layer) => {
      const sure = numbers.sure[layer][index];
      const second = numbers.second[layer][index];
      const [bar, looked] = all(".track i", row);
      const [chance, share] = all(".figure", row);
      row.querySelector(".says").textContent = numbers.texts[layer][index];
      row.classList.toggle("same", !!numbers.same[layer][index]);
      bar.style.width = `${(100 * sure).toFixed(1)}%`;
      chance.textContent = sure.toFixed(2);
      looked.style.width = `${Math.min(100, 100 * second).toFixed(1)}%`;
      share.textContent = `${(100 * second).toFixed(0)} %`;
    });
    for (const button of all("#learn-losses [data-act=word]")) {
      button.setAttribute("aria-pressed", +button.dataset.word === index);
    }
    chances();
  }

  /* The likeliest next words: e^(logit / temperature) of the stored ones, by the sum over the whole vocabulary, which is
     known for each step of the slider. */
  function chances() {
    const next = document.querySelector("#learn-features [data-next]");
    const slider = next?.querySelector("[data-act=temperature]");
    if (!slider) return;
    const numbers = parsed(next, "next");
    const index = +next.dataset.word;
    const temperature = numbers.temperatures[+slider.value];
    const label = `${temperature}`.padEnd(3, ".0");
    next.querySelector("output").textContent = label;
    slider.setAttribute("aria-valuetext", label);
    const total = numbers.totals[index][+slider.value];
    const shares = numbers.logits[index].map((logit) => Math.exp(logit / temperature - total));
    shares.push(Math.max(0, 1 - shares.reduce((sum, share) => sum + share, 0)));
    all("ol > li", next).forEach((row, i) => {
      if (i < shares.length - 1) row.querySelector(".says").textContent = numbers.texts[index][i];
      row.classList.toggle("written", i === numbers.written[index]);
      row.querySelector(".track i").style.width = `${(100 * shares[i]).toFixed(2)}%`;
      row.querySelector(".figure").textContent = percent(shares[i]);
    });
  }

  function bind(element, trigger, watch, events) {
    const send = (name, data) => events.includes(name) && trigger(name, data);
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-act]");
      if (button) acts[button.dataset.act]?.(button, send);
    });
    element.addEventListener("input", (event) => event.target.dataset.act === "temperature" && chances());
    watch("value", () => element.querySelector("[data-next]") && chances()); // the slider stays where it was
    element.addEventListener("submit", (event) => {
      event.preventDefault();
      send("compute", { text: event.target.elements.text.value });
    });
    if (events.includes("opened")) {
      const update = () => (open() ? send("opened", {}) : replay.stop());
      addEventListener("hashchange", update);
      update();
      // Poll for pending results: an answer may be written meanwhile, or a reply may have been lost.
      setInterval(() => open() && document.querySelector("#learn-tab [data-waiting]") && update(), AGAIN);
      watch("value", () => replay.stop());
    }
  }
  return { bind };
})();
