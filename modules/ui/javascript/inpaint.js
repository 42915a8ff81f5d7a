// <tb-inpaint>: a picture, and a mask painted over it. Both are stored on the server, so that a reload keeps them.

import { at, storePicture } from "./api.js";
import { make, Mounted } from "./element.js";
import { tell, toast } from "./toasts.js";

const KEPT = { picture: "tagbrush.inpaint.picture", mask: "tagbrush.inpaint.mask" };
const HINT = "Drop a picture here, paste one, or open a file. Then paint over the part that is to be made anew.";
const MOST_UNDO = 30;

class Inpaint extends Mounted {
  /** @param {AbortSignal} signal */
  mount(signal) {
    this.pictureId = "";
    this.maskId = "";
    this.erasing = false;
    /** @type {ImageData[]} */
    this.undone = [];
    this.build();
    this.listen(signal);
    const [picture, mask] = [sessionStorage.getItem(KEPT.picture), sessionStorage.getItem(KEPT.mask)];
    if (picture) this.restore(picture, mask);
  }

  build() {
    const button = (/** @type {string} */ text, /** @type {string} */ title, /** @type {() => void} */ act) =>
      make("button", { class: "tb-small", type: "button", title, onclick: act }, text);
    this.file = /** @type {HTMLInputElement} */ (make("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "Picture to inpaint" }));
    this.size = /** @type {HTMLInputElement} */ (make("input", { type: "range", min: 1, max: 100, value: 25, "aria-label": "Size of the brush" }));
    this.eraser = button("Erase", "Take paint away instead", () => this.setErasing(!this.erasing));
    this.canvas = /** @type {HTMLCanvasElement} */ (make("canvas", { class: "tb-paint-picture" }));
    this.mask = /** @type {HTMLCanvasElement} */ (make("canvas", { class: "tb-paint-mask", id: "img2maskimg", "aria-label": "Mask" }));
    this.hint = make("p", { class: "tb-hint" }, HINT);
    this.sheet = make("div", { class: "tb-paint-sheet" }, this.canvas, this.mask);
    this.stage = make("div", { class: "tb-paint", tabindex: 0 }, this.sheet, this.hint);
    this.append(
      make(
        "div",
        { class: "tb-actions tb-paint-bar" },
        button("Open", "Choose a picture's file", () => this.file.click()),
        make("label", { class: "tb-small tb-paint-size" }, "Brush", this.size),
        this.eraser,
        button("Undo", "Take back the last stroke", () => this.undo()),
        button("Clear mask", "Take all paint away", () => this.clear()),
        this.file,
      ),
      this.stage,
    );
  }

  /** @param {AbortSignal} signal */
  listen(signal) {
    this.file.addEventListener("change", () => this.file.files?.[0] && this.open(this.file.files[0]));
    this.stage.addEventListener("dragover", (event) => event.preventDefault());
    this.stage.addEventListener("drop", (event) => {
      event.preventDefault();
      const file = event.dataTransfer?.files[0];
      if (file) this.open(file);
    });
    document.addEventListener(
      "paste",
      (event) => {
        const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
        if (file && this.checkVisibility()) this.open(file);
      },
      { signal },
    );
    this.mask.addEventListener("pointerdown", (event) => this.begin(event));
    this.mask.addEventListener("pointermove", (event) => this.stroke(event));
    for (const end of ["pointerup", "pointercancel"]) this.mask.addEventListener(end, () => this.finish());
  }

  /** Start anew with a picture. @param {Blob} blob */
  open(blob) {
    return tell(
      (async () => {
        const stored = await storePicture(blob);
        await this.show(at(`/tagbrush/v1/inputs/${stored.id}`));
        this.remember(stored.id, "");
      })(),
    );
  }

  /** @param {string} picture @param {string | null} mask */
  async restore(picture, mask) {
    try {
      await this.show(at(`/tagbrush/v1/inputs/${picture}`));
      if (mask) this.paintFrom(await load(at(`/tagbrush/v1/inputs/${mask}`)));
      this.remember(picture, mask ?? "");
    } catch {
      this.remember("", ""); // the server keeps inputs for a day only
    }
  }

  /** @param {string} url */
  async show(url) {
    const image = await load(url);
    for (const canvas of [this.canvas, this.mask]) [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    this.canvas.getContext("2d")?.drawImage(image, 0, 0);
    this.sheet.style.width = `min(100%, ${(45 * image.naturalWidth) / image.naturalHeight}vh)`; // small pictures grow
    this.undone = [];
    this.stage.classList.add("has-picture");
  }

  /** @param {string} picture @param {string} mask */
  remember(picture, mask) {
    [this.pictureId, this.maskId] = [picture, mask];
    sessionStorage.setItem(KEPT.picture, picture);
    sessionStorage.setItem(KEPT.mask, mask);
  }

  get paint() {
    return /** @type {CanvasRenderingContext2D} */ (this.mask.getContext("2d", { willReadFrequently: true }));
  }

  /** @param {PointerEvent} event */
  begin(event) {
    if (!this.pictureId || event.button) return;
    this.mask.setPointerCapture(event.pointerId);
    this.undone = [...this.undone.slice(1 - MOST_UNDO), this.paint.getImageData(0, 0, this.mask.width, this.mask.height)];
    this.last = this.place(event);
    this.stroke(event);
  }

  /** @param {PointerEvent} event */
  stroke(event) {
    if (!this.last) return;
    const [paint, to] = [this.paint, this.place(event)];
    paint.globalCompositeOperation = this.erasing ? "destination-out" : "source-over";
    paint.lineCap = paint.lineJoin = "round";
    paint.lineWidth = (Number(this.size.value) / 100) * 0.4 * Math.max(this.mask.width, this.mask.height);
    paint.strokeStyle = "white";
    paint.beginPath();
    paint.moveTo(...this.last);
    paint.lineTo(to[0] + 0.01, to[1]); // a click alone is a dot
    paint.stroke();
    this.last = to;
  }

  finish() {
    if (!this.last) return;
    this.last = null;
    this.maskId = "";
    tell(this.store());
  }

  /** Where the pointer is, in pixels of the picture. @param {PointerEvent} event @returns {[number, number]} */
  place(event) {
    const box = this.mask.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.mask.width, ((event.clientY - box.top) / box.height) * this.mask.height];
  }

  undo() {
    const before = this.undone.pop();
    if (!before) return;
    this.paint.putImageData(before, 0, 0);
    this.maskId = "";
    tell(this.store());
  }

  clear() {
    this.undone = [];
    this.paint.clearRect(0, 0, this.mask.width, this.mask.height);
    this.remember(this.pictureId, "");
  }

  /** @param {boolean} erasing */
  setErasing(erasing) {
    this.erasing = erasing;
    this.eraser.setAttribute("aria-pressed", String(erasing));
  }

  /** @param {HTMLImageElement} image white on black */
  paintFrom(image) {
    const paint = this.paint;
    paint.drawImage(image, 0, 0, this.mask.width, this.mask.height);
    const pixels = paint.getImageData(0, 0, this.mask.width, this.mask.height);
    for (let at = 0; at < pixels.data.length; at += 4) pixels.data[at + 3] = pixels.data[at];
    paint.putImageData(pixels, 0, 0);
  }

  get isPainted() {
    return this.pictureId && this.paint.getImageData(0, 0, this.mask.width, this.mask.height).data.some((value) => value > 0);
  }

  /** The ids of picture and mask, the mask stored first if it is not yet. */
  async store() {
    if (this.pictureId && !this.maskId && this.isPainted) {
      const painted = make("canvas", { width: this.mask.width, height: this.mask.height });
      const context = /** @type {CanvasRenderingContext2D} */ (/** @type {HTMLCanvasElement} */ (painted).getContext("2d"));
      context.fillRect(0, 0, this.mask.width, this.mask.height);
      context.drawImage(this.mask, 0, 0);
      const blob = await new Promise((done) => /** @type {HTMLCanvasElement} */ (painted).toBlob(done));
      this.remember(this.pictureId, (await storePicture(blob)).id);
    }
    return { picture: this.pictureId, mask: this.maskId };
  }
}

/** @param {string} url @returns {Promise<HTMLImageElement>} */
async function load(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

customElements.define("tb-inpaint", Inpaint);

/** @returns {Inpaint | null} */
const element = () => document.querySelector("tb-inpaint");

/** Which of img2img's tabs is open. */
function openStart() {
  if (element()?.checkVisibility()) return "painted";
  return document.querySelector("#img_inpaint_base")?.checkVisibility() ? "uploaded" : "picture";
}

/** The values of the form with the painted picture, its mask and the open tab from `at` on. @param {any[]} given @param {number} at */
export async function withPainting(given, at) {
  const stored = (await element()?.store()) ?? { picture: "", mask: "" };
  return given.toSpliced(at, 3, stored.picture, stored.mask, openStart());
}

/** Make a finished picture the one to paint on. @param {{url: string}} picture */
export async function sendToInpaint(picture) {
  document.getElementById("tab_img2img-button")?.click();
  const target = await untilShown();
  const response = await fetch(picture.url);
  if (target && response.ok) await target.open(await response.blob());
  else toast("The picture cannot be read any more.", "error");
}

/** The element, once gradio has drawn the tab that it is in. */
async function untilShown() {
  for (let tries = 0; tries < 50 && !element()?.checkVisibility(); tries += 1) {
    document.getElementById("img2img_inpaint_tab-button")?.click();
    await new Promise((done) => setTimeout(done, 100));
  }
  return element();
}
