/* The Contrast tab's behaviour: its presses become Gradio events; probabilities are computed here, from the similarities
   on the page, so that moving a slider needs no request. Holds the chosen temperature and direction. */
window.vlmContrast = (() => {
  const all = (selector, root) => [...root.querySelectorAll(selector)];
  const root = () => document.querySelector("#contrast-table .contrast");
  const open = () => document.documentElement.dataset.tab === "contrast";
  const picker = () => document.querySelector("#contrast-tab input[type=file]");
  const SNAP = 0.6; // percent of the slider around the learned value that are it

  let temperature = null; // null = the learned one
  let over = "texts";
  let refocus = false; // to the field for another text

  const percent = (share) => `${(100 * share).toFixed(1)}%`;
  const shown = (value) => value.toFixed(value < 0.01 ? 4 : 3);

  function softmax(values, by) {
    const top = Math.max(...values);
    const raised = values.map((value) => Math.exp((value - top) / by));
    const sum = raised.reduce((one, other) => one + other, 0);
    return raised.map((value) => value / sum);
  }

  /* The probabilities of every cell, summing to 1 over a column or a row; and the bars of the selected picture. */
  function spread() {
    const table = root();
    if (!table?.dataset.learned) return;
    const by = temperature ?? +table.dataset.learned;
    const cells = all(".cell[data-similarity]", table);
    const groups = new Map();
    for (const cell of cells) {
      const key = over === "texts" ? cell.dataset.picture : cell.dataset.text;
      groups.set(key, [...(groups.get(key) ?? []), cell]);
    }
    const share = new Map();
    const winners = new Set();
    for (const group of groups.values()) {
      const found = softmax(group.map((cell) => +cell.dataset.similarity), by);
      group.forEach((cell, at) => share.set(cell, found[at]));
      winners.add(group[found.indexOf(Math.max(...found))]);
    }
    for (const cell of cells) cell.querySelector(".chance").textContent = percent(share.get(cell));
    const picture = table.querySelector(".thumb[aria-pressed=true]")?.dataset.picture;
    for (const row of all("tr[data-text]", table)) {
      const cell = all(".cell[data-similarity]", row).find((other) => other.dataset.picture === picture);
      const bar = row.querySelector(".chance-bar");
      bar.style.width = cell ? `${100 * share.get(cell)}%` : "0";
      row.querySelector(".chance-of").textContent = cell ? percent(share.get(cell)) : "";
      bar.closest(".bar-of").classList.toggle("wins", !!cell && winners.has(cell));
    }
    for (const button of all("[data-act=over]", table)) button.setAttribute("aria-pressed", button.dataset.over === over);
    table.querySelector(".among").textContent = over;
    slide(table, by);
  }

  const place = (table, value) => {
    const [low, high] = [Math.log10(table.dataset.low), Math.log10(table.dataset.high)];
    return Math.min(100, Math.max(0, (100 * (Math.log10(value) - low)) / (high - low)));
  };

  function slide(table, by) {
    const slider = table.querySelector("input[type=range]");
    if (document.activeElement !== slider || temperature === null) slider.value = place(table, by);
    slider.setAttribute("aria-valuetext", shown(by));
    slider.style.setProperty("--at", `${place(table, by)}%`);
    table.querySelector(".temperature output").textContent = shown(by);
  }

  function slid(slider) {
    const table = root();
    const near = Math.abs(slider.value - place(table, +table.dataset.learned)) <= SNAP;
    const [low, high] = [Math.log10(table.dataset.low), Math.log10(table.dataset.high)];
    temperature = near ? null : 10 ** (low + (slider.value / 100) * (high - low));
    spread();
  }

  /* Narrow: table and map lie below each other. */
  function glide(id) {
    if (!matchMedia("(max-width: 820px)").matches) return;
    const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
    document.getElementById(id).scrollIntoView({ behavior, block: "start" });
  }

  /* A press is seen at once; its map comes when it is drawn. */
  function mark(button) {
    const table = root();
    const at = table.querySelector(".cell[aria-pressed=true]");
    const picture = button.dataset.picture ?? table.querySelector(".thumb[aria-pressed=true]")?.dataset.picture;
    const text = button.dataset.text ?? at?.dataset.text;
    for (const thumb of all(".thumb", table)) thumb.setAttribute("aria-pressed", thumb.dataset.picture === picture);
    for (const cell of all("button.cell", table)) {
      cell.setAttribute("aria-pressed", cell.dataset.picture === picture && cell.dataset.text === text);
    }
    spread();
  }

  const acts = {
    add: () => picker().click(),
    pick(button, send) {
      mark(button);
      const { picture, text } = button.dataset;
      send("pick", { ...(picture && { picture }), ...(text && { text: +text }) });
      if (text) glide("contrast-right");
    },
    remove: (button, send) => send("remove", { picture: button.dataset.picture }),
    empty: (button, send) => send("reword", { text: +button.dataset.text, words: "" }),
    judge: (button, send) => send("choose", { judge: button.dataset.judge }),
    up: () => glide("contrast-left"),
    export: (_button, send) => send("export", {}),
    over(button) {
      over = button.dataset.over;
      spread();
    },
    learned() {
      temperature = null;
      spread();
    },
  };

  function changed(target, send) {
    if (target.dataset.act === "choose") {
      temperature = null; // another model has learned another one
      return send("choose", { [target.name]: target.value });
    }
    if (!target.matches(".text")) return;
    target.dataset.sent = "yes";
    if (!target.matches(".new")) return send("reword", { text: +target.dataset.text, words: target.value });
    if (target.value.trim()) send("reword", { words: target.value });
    target.value = "";
    refocus = document.activeElement === target;
  }

  const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

  function key(event, send) {
    if (event.key === "Enter" && !event.isComposing && event.target.matches(".text")) {
      event.preventDefault();
      return changed(event.target, send);
    }
    arrow(event);
  }

  function arrow(event) {
    const move = ARROWS[event.key];
    const cell = move && event.target.closest(".cell");
    if (!cell) return;
    event.preventDefault();
    const rows = all("tr[data-text]", root()).map((row) => all(".cell", row));
    const at = rows.findIndex((row) => row.includes(cell));
    rows[at + move[0]]?.[rows[at].indexOf(cell) + move[1]]?.focus();
  }

  /* A redraw shows the server's state; what is being typed stays. */
  function drawn(element) {
    for (const input of all(".text", element)) {
      if (input === document.activeElement && !input.dataset.sent) continue;
      input.value = input.defaultValue;
      delete input.dataset.sent;
    }
    for (const select of all("select", element)) select.value = select.dataset.value;
    if (refocus) element.querySelector(".new")?.focus();
    refocus = false;
    spread();
  }

  function bind(element, trigger, watch, events) {
    const send = (name, data) => events.includes(name) && trigger(name, data);
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-act]");
      if (button) acts[button.dataset.act]?.(button, send);
    });
    element.addEventListener("change", (event) => changed(event.target, send));
    element.addEventListener("keydown", (event) => key(event, send));
    element.addEventListener("input", (event) => {
      if (event.target.type === "range") slid(event.target);
      else delete event.target.dataset.sent;
    });
    if (!events.includes("shown")) return;
    watch("value", () => drawn(element));
    const update = () => open() && send("shown", {});
    new MutationObserver(update).observe(document.documentElement, { attributeFilter: ["data-tab"] });
    update();
  }

  return { bind };
})();
