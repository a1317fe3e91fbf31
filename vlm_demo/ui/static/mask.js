/* Drawing over a picture: a canvas over it, and the marked cells as bits when they are sent. A drawing is stored nowhere
   else. */
vlm.mask = (() => {
  const INK = "#b5432c";
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const root = () => document.getElementById("mask-paper");
  const canvas = () => root()?.querySelector("canvas");
  let last = null; // where the pointer was, in cells
  let hand = null; // where the keyboard's brush is

  function place(event) {
    const box = canvas().getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * canvas().width, ((event.clientY - box.top) / box.height) * canvas().height];
  }

  function paint(from, to) {
    const pen = canvas().getContext("2d");
    const size = (+root().querySelector("[name=brush]").value / 100) * Math.max(canvas().width, canvas().height);
    pen.globalCompositeOperation = root().querySelector("[name=erase]").checked ? "destination-out" : "source-over";
    Object.assign(pen, { strokeStyle: INK, lineWidth: size, lineCap: "round", lineJoin: "round" });
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(to[0] + 0.01, to[1]);
    pen.stroke();
  }

  document.addEventListener("pointerdown", (event) => {
    if (event.target !== canvas() || event.button) return;
    event.preventDefault();
    canvas().focus({ preventScroll: true });
    canvas().setPointerCapture(event.pointerId);
    hand = null;
    last = place(event);
    paint(last, last);
  });
  document.addEventListener("pointermove", (event) => {
    if (!last || event.target !== canvas()) return;
    const now = place(event);
    paint(last, now);
    last = now;
  });
  for (const kind of ["pointerup", "pointercancel"]) document.addEventListener(kind, () => (last = null));
  document.addEventListener("keydown", (event) => {
    if (event.target !== canvas() || !(event.key === " " || ARROWS[event.key])) return;
    event.preventDefault();
    const { width, height } = canvas();
    hand ??= [width / 2, height / 2];
    const [x, y] = ARROWS[event.key] ?? [0, 0];
    hand = [Math.min(Math.max(hand[0] + (x * width) / 20, 0), width), Math.min(Math.max(hand[1] + (y * height) / 20, 0), height)];
    const mark = canvas().nextElementSibling;
    Object.assign(mark.style, { left: `${(100 * hand[0]) / width}%`, top: `${(100 * hand[1]) / height}%` });
    if (event.key === " ") paint(hand, hand);
  });

  const wipe = () => canvas()?.getContext("2d").clearRect(0, 0, canvas().width, canvas().height);

  /* The marked cells, row by row, eight to a byte, the first in its highest bit. */
  function marked() {
    const { width, height } = canvas();
    const pixels = canvas().getContext("2d").getImageData(0, 0, width, height).data;
    const bytes = new Uint8Array(Math.ceil((width * height) / 8));
    for (let i = 0; i < width * height; i++) if (pixels[4 * i + 3] > 127) bytes[i >> 3] |= 128 >> (i & 7);
    return { width, height, bits: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")) };
  }

  /* Another picture is under the canvas: clear the drawing. */
  let over = null;
  function drawn() {
    const now = root()?.querySelector(".paper")?.dataset.picture;
    if (now !== over) wipe();
    over = now;
  }
  return { drawn, marked, wipe };
})();
