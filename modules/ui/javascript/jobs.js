// What the page knows of jobs: the latest of each task, kept up to date by the event stream.

import { at, get, post } from "./api.js";
import { on } from "./events.js";

/**
 * @typedef {{index: number, url: string, seed: number, infotext: string, width: number, height: number,
 *            kind: "picture" | "mask" | "composite"}} Picture
 * @typedef {{id: string, task: string, state: string, wanted: string | null, position: number | null, created: number, error: string | null,
 *            request: any, progress: any, pictures: Picture[], notices: string[], preview?: string}} Job
 */

const FINAL = new Set(["done", "failed", "cancelled", "interrupted"]);
const changed = new EventTarget();
/** @type {Map<string, Job>} */
const jobs = new Map();

/** What a job has made, without the masks shown beside it. @param {Job | null} job */
export const madeBy = (job) => job?.pictures.filter((picture) => (picture.kind ?? "picture") === "picture") ?? [];

/** @param {Job} job */
export const isFinal = (job) => FINAL.has(job.state);

/** The job a task's panel shows: the running one, else the newest that ended, else the next that waits. @param {string} task */
export function shownJob(task) {
  const ofTask = [...jobs.values()].filter((job) => job.task === task).sort((a, b) => b.created - a.created);
  return ofTask.find((job) => job.state === "running") ?? ofTask.find(isFinal) ?? ofTask.at(-1) ?? null;
}

/** Jobs of a task that are not over. @param {string} task */
export const activeJobs = (task) =>
  [...jobs.values()].filter((job) => job.task === task && !isFinal(job)).sort((a, b) => a.created - b.created);

/** Call `listener` with a task's name whenever one of its jobs changed. @param {(task: string) => void} listener @param {AbortSignal} [signal] */
export function onChange(listener, signal) {
  changed.addEventListener("change", (event) => listener(/** @type {CustomEvent} */ (event).detail), { signal });
}

/** Stop the running job of a task, and forget the waiting ones. @param {string} task */
export const interrupt = (task) => Promise.all(activeJobs(task).map((job) => post(`/jobs/${job.id}/interrupt`)));

/** Go on with the next batch of the job that is shown, if it runs; with several workers others may run too. @param {string} task */
export async function skip(task) {
  const shown = shownJob(task);
  if (shown?.state === "running") await post(`/jobs/${shown.id}/skip`);
}

/** @param {string} task */
const tell = (task) => changed.dispatchEvent(new CustomEvent("change", { detail: task }));

/** A picture with an address that leads to it from this page. @param {Picture} picture @returns {Picture} */
const placed = (picture) => ({ ...picture, url: at(picture.url) });

/** @param {Job} job */
function store(job) {
  const known = jobs.get(job.id);
  const pictures = job.pictures.map(placed);
  jobs.set(job.id, { ...job, pictures, preview: isFinal(job) ? undefined : known?.preview, progress: job.progress ?? known?.progress });
  forgetOld(job.task);
  tell(job.task);
}

/** @param {string} id @param {(job: Job) => void} change */
function update(id, change) {
  const job = jobs.get(id);
  if (!job) return;
  change(job);
  tell(job.task);
}

/** @param {string} task */
function forgetOld(task) {
  const ended = [...jobs.values()].filter((job) => job.task === task && isFinal(job)).sort((a, b) => b.created - a.created);
  for (const job of ended.slice(5)) jobs.delete(job.id);
}

/** Of jobs that are not in hand any more the stream may have told the end while nobody listened. @param {Set<string>} active */
function askForThoseThatEnded(active) {
  for (const job of jobs.values()) {
    if (isFinal(job) || active.has(job.id)) continue;
    get(`/jobs/${job.id}`)
      .then(store)
      .catch(() => {}); // asked again with the next snapshot
  }
}

/** Follow the stream, and ask once for what ended before this page was opened. */
export function follow() {
  on("snapshot", (data) => {
    data.jobs.forEach(store);
    askForThoseThatEnded(new Set(data.jobs.map((/** @type {Job} */ job) => job.id)));
  });
  on("job", store);
  on("queue", (data) => {
    for (const job of jobs.values()) {
      const place = data.ids.indexOf(job.id);
      job.position = place < 0 ? null : place + 1;
    }
    new Set([...jobs.values()].map((job) => job.task)).forEach(tell);
  });
  on("progress", (data) => update(data.job_id, (job) => (job.progress = data)));
  on("preview", (data) => update(data.job_id, (job) => !isFinal(job) && (job.preview = data.image)));
  on("picture", (data) =>
    update(data.job_id, (job) => {
      job.pictures = [...job.pictures.filter((picture) => picture.index !== data.index), placed(data)].sort((a, b) => a.index - b.index);
      job.preview = undefined;
    }),
  );
  on("notice", (data) =>
    update(data.job_id, (job) => {
      if (!job.notices.includes(data.text)) job.notices = [...job.notices, data.text];
    }),
  );
  get("/jobs?limit=20")
    .then((data) => data.forEach((/** @type {Job} */ job) => jobs.has(job.id) || store(job)))
    .catch(() => {}); // the stream's snapshot follows as soon as the server is there
}
