/* What a person has folded or unfolded stays so when the same is drawn again, such as a checklist whose last check has
   arrived. ``data-fold`` names what is folded; it is another one for another answer. */
vlm.folds = (() => {
  const chosen = new Map();

  /* A press on a summary, by pointer or by key, comes before what it does. */
  document.addEventListener("click", (event) => {
    const details = event.target.closest("summary")?.parentElement;
    if (details?.dataset.fold) chosen.set(details.dataset.fold, !details.open);
  });

  function drawn(element) {
    for (const details of element.querySelectorAll("details[data-fold]")) {
      const open = chosen.get(details.dataset.fold);
      if (open !== undefined) details.open = open;
    }
  }
  return { drawn };
})();
