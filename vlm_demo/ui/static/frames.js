/* An animated picture is shown in the composer as one still frame, the one that is asked about. */
(() => {
  const SIDE = 192; // pixels: twice a thumbnail's, for sharp screens
  const MOVE = /gif|webp|png|avif/; // kinds that may hold several frames
  const chosen = () => +(document.querySelector("#page-number input")?.value || 1);

  /* Draw a picture, or a frame of one, in small. */
  function drawn(frame, width, height) {
    const canvas = document.createElement("canvas");
    const scale = Math.min(1, SIDE / Math.max(width, height));
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    canvas.getContext("2d").drawImage(frame, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL();
  }

  async function frameOf(image, source, number) {
    // Over plain http from elsewhere there is no decoder; a canvas draws the first frame.
    if (!window.ImageDecoder) return /\.(gif|webp)$/i.test(source) ? drawn(image, image.naturalWidth, image.naturalHeight) : "";
    const reply = await fetch(source);
    const type = reply.headers.get("content-type") ?? "";
    if (!MOVE.test(type) || !(await ImageDecoder.isTypeSupported(type))) return "";
    const decoder = new ImageDecoder({ data: await reply.arrayBuffer(), type });
    await decoder.tracks.ready;
    await decoder.completed;
    const { frameCount } = decoder.tracks.selectedTrack;
    if (frameCount < 2) return "";
    const { image: frame } = await decoder.decode({ frameIndex: Math.min(Math.max(number, 1), frameCount) - 1 });
    const uri = drawn(frame, frame.displayWidth, frame.displayHeight);
    frame.close();
    decoder.close();
    return uri;
  }

  async function still(image) {
    if (!image.src.startsWith("data:")) image.dataset.source = image.src;
    const [source, number] = [image.dataset.source, chosen()];
    if (!source || image.dataset.frame === `${number} ${source}`) return;
    image.dataset.frame = `${number} ${source}`;
    const uri = await frameOf(image, source, number).catch(() => ""); // what can't be decoded is left as it is
    if (uri && image.dataset.frame === `${number} ${source}`) image.src = uri;
  }

  const update = () => document.querySelectorAll("#composer .thumbnail-item img").forEach(still);
  vlm.whenThere("#composer textarea", () => {
    const watched = { childList: true, subtree: true, attributes: true, attributeFilter: ["src"] };
    new MutationObserver(update).observe(document.getElementById("composer"), watched);
  });
  for (const kind of ["input", "change"]) {
    document.addEventListener(kind, (event) => event.target.closest?.("#page-number") && update());
  }
})();
