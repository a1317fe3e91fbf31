/* The composer: its buttons' names, what was typed and not sent, and the line that says that a picture is being opened. */
vlm.composer = (() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  /* A question was sent with a picture, which the server opens before it replies: after a second the page says what it
     waits for. */
  const opening = (() => {
    const line = Object.assign(document.createElement("p"), { id: "opening", hidden: true });
    line.setAttribute("role", "status");
    let timer = 0;
    const end = () => {
      clearTimeout(timer);
      line.hidden = true;
      line.textContent = "";
    };
    const begin = () => {
      end();
      timer = setTimeout(() => Object.assign(line, { hidden: false, textContent: "Opening the picture" }), 1000);
    };
    return { line, begin, end };
  })();

  const events = { uploaded() {}, typed() {}, replied: opening.end }; // page.js puts in what the first two trigger

  /* Gradio's composer names neither its buttons nor the kind of file it wants. */
  function name(composer) {
    const label = (selector, text) =>
      all(selector, composer).forEach((button) => {
        if (button.getAttribute("aria-label") === text) return;
        button.setAttribute("aria-label", text);
        button.title = text;
      });
    label(".upload-button", "Add a picture");
    label(".submit-button", "Send");
    label(".stop-button", "Stop");
    label(".delete-button", "Remove this picture");
    label("textarea", "Question");
    const narrow = matchMedia("(max-width: 820px)").matches;
    if (narrow) composer.querySelector("textarea").placeholder = "Ask about the picture";
    for (const input of all("input[type=file]", composer)) if (!input.accept) input.accept = "image/*,.heic,.heif,.pdf,.json";
  }

  /* What was typed and not sent yet stays with the tab. */
  const unsent = sessionStorage.getItem("left") && sessionStorage.getItem("unsent");
  sessionStorage.removeItem("unsent");
  addEventListener("pagehide", () => {
    sessionStorage.setItem("unsent", document.querySelector("#composer textarea")?.value ?? "");
  });

  vlm.whenThere("#desk", (desk) => desk.prepend(opening.line));
  vlm.whenThere("#composer textarea", (area) => {
    const composer = document.getElementById("composer");
    if (unsent && !area.value) {
      area.value = unsent;
      area.dispatchEvent(new Event("input", { bubbles: true }));
    }
    let files = 0;
    const update = () => {
      name(composer);
      const now = composer.querySelectorAll(".thumbnail-item").length;
      if (now !== files) {
        setTimeout(() => events.uploaded(), 50); // the page's own files are deleted with it, so it has to claim them
        events.typed();
      }
      if (!now) opening.end();
      files = now;
    };
    update();
    new MutationObserver(update).observe(composer, { childList: true, subtree: true });
    composer.addEventListener("input", () => events.typed());
    const sent = () => files && opening.begin();
    composer.addEventListener("click", (event) => event.target.closest(".submit-button") && sent(), true);
    composer.addEventListener("keydown", (event) => {
      const entered = event.key === "Enter" && !event.shiftKey && !event.isComposing;
      if (entered && event.target.matches("textarea")) sent(); // on a button, Enter is a press on that alone
    }, true);
  });
  return events;
})();
