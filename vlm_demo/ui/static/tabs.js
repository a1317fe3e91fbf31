/* The page's tabs are links, and the address names the one that is shown. */
(() => {
  /* The address names the tab that is shown, as #contrast: no name, or an unknown one, is Chat. */
  function showTab() {
    const links = [...document.querySelectorAll("#tabs a")];
    const open = links.find((link) => link.hash === location.hash) ?? links[0];
    for (const link of links) {
      if (link === open) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.documentElement.dataset.tab = open?.hash.slice(1) ?? "chat";
    dispatchEvent(new Event("tabshown"));
  }
  addEventListener("hashchange", () => {
    showTab();
    scrollTo(0, 0);
  });
  vlm.whenThere("#tabs a", showTab);
  /* Gradio's page has a base, against which "#contrast" alone would lead to another page than "?__theme=dark". */
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("#tabs a, a[data-tab]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    location.hash = link.hash;
  });
})();
