/* A picture may be dropped and pasted anywhere: in Chat it is handed over to the composer, in another tab to the button
   that takes pictures there. */
(() => {
  const tab = () => document.documentElement.dataset.tab ?? "chat";
  const composer = () => tab() === "chat" && document.querySelector("#composer .full-container");
  const picker = () => document.querySelector(`#${tab()}-tab input[type=file]`);
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const target = (shown) => document.documentElement.classList.toggle("dropping", shown);

  /* What is carried by an event ends with it. */
  function copied(files) {
    const carried = new DataTransfer();
    for (const file of files) carried.items.add(file);
    return carried;
  }

  /* To the button of a tab, as if the pictures had been chosen there. */
  function give(files) {
    picker().files = copied(files).files;
    picker().dispatchEvent(new Event("change", { bubbles: true }));
  }

  document.addEventListener("dragenter", (event) => (composer() || picker()) && carries(event) && target(true));
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && target(false));
  document.addEventListener("pointermove", () => target(false)); // there are none while something is dragged
  document.addEventListener("dragover", (event) => {
    event.preventDefault(); // or the browser would leave the page for the picture
    if (carries(event)) event.dataTransfer.dropEffect = "copy";
  });
  document.addEventListener("drop", (event) => {
    target(false);
    const { files } = event.dataTransfer ?? {};
    if (!files?.length || (composer() && composer().contains(event.target))) return;
    event.preventDefault(); // also where no picture is taken, or the browser would leave the page for it
    if (!composer()) return picker() && give(files);
    composer().dispatchEvent(new DragEvent("drop", { dataTransfer: copied(files), cancelable: true }));
  }, true);
  document.addEventListener("paste", (event) => {
    const area = document.querySelector("#composer textarea");
    const pictures = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (!pictures.length || (composer() ? !area || event.target === area : !picker())) return;
    event.preventDefault();
    if (!composer()) return give(pictures);
    area.dispatchEvent(new ClipboardEvent("paste", { clipboardData: copied(pictures), cancelable: true }));
  });
})();
