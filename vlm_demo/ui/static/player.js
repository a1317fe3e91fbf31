/* Plays the words of an answer in the inspector, one after the other, until the last one or a press. */
vlm.player = (() => {
  /* Words, two a second, to the last one: each press waits until the one before has been drawn. */
  const PACE = 500;
  const nextWord = () => document.querySelector("#heatmap [data-act=step][data-by='1']");
  const player = {
    timer: 0,
    from: null,
    press(send) {
      if (this.timer) return this.stop();
      const maps = document.querySelector("#heatmap .maps");
      if (nextWord()?.disabled) send("word", { turn: +maps.dataset.turn, word: 0 });
      this.start();
    },
    start() {
      this.from = nextWord()?.disabled ? document.querySelector("#heatmap .maps").dataset.word : null;
      this.timer = setInterval(() => this.advance(), PACE);
      this.mark();
    },
    stop() {
      clearInterval(this.timer);
      this.timer = 0;
      this.mark();
    },
    advance() {
      const word = document.querySelector("#heatmap .maps")?.dataset.word;
      if (word === undefined) return this.stop();
      if (word === this.from) return; // still being drawn
      if (nextWord().disabled) return this.stop();
      this.from = word;
      nextWord().click();
    },
    mark() {
      const button = document.querySelector("#heatmap .play");
      if (!button) return;
      if (this.timer && nextWord().disabled && this.from !== document.querySelector("#heatmap .maps").dataset.word) {
        return this.stop();
      }
      button.setAttribute("aria-pressed", !!this.timer);
      button.textContent = this.timer ? "❚❚ pause" : "▷ play";
    },
  };
  document.addEventListener("click", (event) => {
    if (player.timer && event.isTrusted && !event.target.closest("[data-act=play]")) player.stop();
  }, true);
  document.addEventListener("visibilitychange", () => document.hidden && player.timer && player.stop());
  return player;
})();
