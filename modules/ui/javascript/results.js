// <tb-results task="txt2img">: progress, live preview, finished pictures and their text. Its box keeps its size,
// so that nothing on the page moves when a picture arrives.

import { make, Mounted } from "./element.js";
import { activeJobs, isFinal, madeBy, onChange, shownJob } from "./jobs.js";
import { sendToImg2img, useSeed, useText } from "./handover.js";
import { sendToInpaint } from "./inpaint.js";
import { tell, toast } from "./toasts.js";

const HINT = "Your picture appears here. Type what you want to see, click a card if you like, and press Generate.";

class Results extends Mounted {
  /** @param {AbortSignal} signal */
  mount(signal) {
    this.task = this.getAttribute("task") ?? "txt2img";
    this.chosen = { job: "", index: 0, byHand: false };
    this.build();
    onChange((task) => task === this.task && this.render(), signal);
    this.render();
  }

  build() {
    const task = this.task;
    this.bar = make("div", { class: "tb-bar-fill" });
    this.meter = make("div", { class: "tb-bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, this.bar);
    this.status = make("div", { class: "tb-status", id: `${task}_progress_text`, "aria-live": "polite" });
    this.picture = /** @type {HTMLImageElement} */ (make("img", { class: "tb-picture", alt: "" }));
    this.hint = make("p", { class: "tb-hint" }, HINT);
    this.stage = make("div", { class: "tb-stage" }, this.picture, this.hint);
    this.thumbs = make("div", { class: "tb-thumbs", role: "listbox", "aria-label": "Pictures of this job" });
    this.notices = make("ul", { class: "tb-notices", id: `${task}_notices` });
    this.infotext = make("pre", { class: "tb-infotext", id: `html_info_${task}`, tabindex: 0 });
    this.actions = this.buildActions();
    this.append(
      make("div", { class: "tb-progress" }, this.status, this.meter),
      make("div", { class: "tb-gallery", id: `${task}_gallery` }, this.stage, this.thumbs),
      this.actions,
      this.notices,
      this.infotext,
    );
  }

  buildActions() {
    const button = (/** @type {string} */ id, /** @type {string} */ text, /** @type {string} */ title, /** @type {() => void} */ act) =>
      make("button", { class: "tb-small", id: `${this.task}_${id}`, type: "button", title, onclick: act }, text);
    return make(
      "div",
      { class: "tb-actions" },
      button("send_to_img2img", "To img2img", "Go on from this picture in img2img", () => this.withPicture(sendToImg2img)),
      button("send_to_inpaint", "To inpaint", "Paint over a part of this picture and make it anew", () =>
        this.withPicture((picture) => tell(sendToInpaint(picture))),
      ),
      button("reuse_seed_of_picture", "Reuse seed", "Put this picture's seed into the seed box", () =>
        this.withPicture((picture) => useSeed(this.task, picture.seed)),
      ),
      button("use_settings", "Use settings", "Fill every control from this picture's text", () =>
        this.withPicture((picture) => useText(this.task, picture.infotext)),
      ),
      button("copy_infotext", "Copy text", "Copy the generation parameters", () =>
        this.withPicture((picture) => navigator.clipboard.writeText(picture.infotext).then(() => toast("Copied."))),
      ),
      make("a", { class: "tb-small", id: `${this.task}_open_picture`, target: "_blank", rel: "noopener" }, "Open"),
    );
  }

  /** @param {(picture: import("./jobs.js").Picture) => void} use */
  withPicture(use) {
    const picture = this.shownPicture();
    if (picture) use(picture);
  }

  shownPicture() {
    return shownJob(this.task)?.pictures.find((picture) => picture.index === this.chosen.index) ?? null;
  }

  render() {
    const job = shownJob(this.task);
    this.dataset.job = job?.id ?? "";
    this.renderProgress(job);
    this.renderPictures(job);
    this.renderText(job);
    this.setRunning(activeJobs(this.task).length > 0);
  }

  /** @param {import("./jobs.js").Job | null} job */
  renderProgress(job) {
    const isActive = job !== null && !isFinal(job);
    const fraction = isActive ? (job.progress?.progress ?? 0) : 0;
    this.meter.classList.toggle("is-active", isActive);
    this.meter.classList.toggle("is-waiting", isActive && !job.progress);
    this.meter.setAttribute("aria-valuenow", String(Math.round(fraction * 100)));
    this.bar.style.transform = `scaleX(${fraction})`;
    this.status.textContent = statusText(job, activeJobs(this.task).length);
    this.status.classList.toggle("is-error", job?.state === "failed");
    const name = document.title.replace(/^\[\d+%\] /, "");
    document.title = isActive && job.progress ? `[${Math.round(fraction * 100)}%] ${name}` : name;
  }

  /** @param {import("./jobs.js").Job | null} job */
  renderPictures(job) {
    if (job && this.chosen.job !== job.id) this.chosen = { job: job.id, index: 0, byHand: false };
    const pictures = job?.pictures ?? [];
    const latest = madeBy(job).at(-1);
    if (!this.chosen.byHand && latest) this.chosen.index = latest.index;
    const chosen = this.shownPicture();
    const isLive = Boolean(job?.preview) && !this.chosen.byHand;
    const source = (isLive && job?.preview) || chosen?.url || "";
    if (source && this.picture.getAttribute("src") !== source) this.picture.src = source;
    const shown = source || this.picture.getAttribute("src");
    this.picture.classList.toggle("is-live", isLive);
    this.picture.classList.toggle("is-past", !source); // the job before, until this one has something to show
    this.picture.alt = isLive ? "Preview of the picture in the making" : (job?.request?.prompt ?? "");
    this.stage.classList.toggle("has-picture", Boolean(shown));
    this.actions.classList.toggle("is-idle", !chosen);
    const open = /** @type {HTMLAnchorElement} */ (this.actions.lastElementChild);
    if (chosen) open.href = chosen.url;
    this.renderThumbs(pictures, job);
  }

  /** @param {import("./jobs.js").Picture[]} pictures @param {import("./jobs.js").Job | null} job */
  renderThumbs(pictures, job) {
    const expected = (job?.request?.batch_size ?? 1) * (job?.request?.n_iter ?? 1);
    this.thumbs.classList.toggle("is-expected", expected > 1); // room for them from the start: nothing moves later
    const wanted = pictures.length > 1 ? pictures : [];
    const shown = [...this.thumbs.children].map((thumb) => thumb.getAttribute("data-url")).join();
    if (shown !== wanted.map((picture) => picture.url).join()) this.thumbs.replaceChildren(...wanted.map((p) => this.thumb(p)));
    for (const thumb of this.thumbs.children) {
      thumb.setAttribute("aria-selected", String(thumb.getAttribute("data-index") === String(this.chosen.index)));
    }
  }

  /** @param {import("./jobs.js").Picture} picture */
  thumb(picture) {
    const choose = () => {
      this.chosen = { ...this.chosen, index: picture.index, byHand: true };
      this.render();
    };
    const image = make("img", { src: picture.url, alt: nameOf(picture), loading: "lazy" });
    return make(
      "button",
      { class: "tb-thumb", type: "button", role: "option", "data-index": picture.index, "data-url": picture.url, onclick: choose },
      image,
    );
  }

  /** @param {import("./jobs.js").Job | null} job */
  renderText(job) {
    const infotext = this.shownPicture()?.infotext ?? "";
    if (this.infotext.textContent !== infotext) this.infotext.textContent = infotext;
    const notices = [...(job?.notices ?? [])];
    this.notices.replaceChildren(...notices.map((notice) => make("li", {}, notice)));
  }

  /** @param {boolean} isRunning */
  setRunning(isRunning) {
    for (const name of ["interrupt", "skip"]) {
      const button = document.getElementById(`${this.task}_${name}`);
      if (button instanceof HTMLButtonElement) button.disabled = !isRunning;
    }
  }
}

const BESIDE = { mask: "Mask", composite: "Masked part" };

/** @param {import("./jobs.js").Picture} picture */
function nameOf(picture) {
  const name = picture.kind === "picture" ? `Picture ${picture.index + 1}` : BESIDE[picture.kind];
  return `${name}, seed ${picture.seed}`;
}

/** @param {import("./jobs.js").Job | null} job @param {number} active */
function statusText(job, active) {
  if (!job) return "";
  const others = active > 1 ? ` · ${active - 1} more waiting` : "";
  if (job.state === "queued") return job.position && job.position > 1 ? `Waiting, number ${job.position} in the queue` : "Waiting for the engine ...";
  if (job.state === "running") return runningText(job) + others;
  if (job.state === "failed") return job.error ?? "The job failed.";
  const made = madeBy(job).length;
  const pictures = `${made} picture${made === 1 ? "" : "s"}`;
  if (job.state === "done") return `Done: ${pictures}${seconds(job)}`;
  return `Stopped${made ? `, ${pictures} kept` : ""}`;
}

/** @param {import("./jobs.js").Job} job */
function runningText(job) {
  const progress = job.progress;
  if (job.wanted) return "Stopping ...";
  if (!progress) return "Loading the model ...";
  const batch = progress.batches > 1 ? `Batch ${progress.batch + 1} of ${progress.batches}, step` : "Step";
  const left = progress.eta ? ` · ${duration(progress.eta)} left` : "";
  return `${batch} ${progress.step} of ${progress.steps}${left}`;
}

/** @param {any} job */
const seconds = (job) => (job.started && job.finished ? ` in ${duration(job.finished - job.started)}` : "");

/** @param {number} time in seconds */
export function duration(time) {
  if (time < 10) return `${time.toFixed(1)} s`;
  if (time < 90) return `${Math.round(time)} s`;
  return `${Math.floor(time / 60)} min ${Math.round(time % 60)} s`;
}

customElements.define("tb-results", Results);
