// The token counters in the corners of the prompt boxes, and what is wrong with a prompt's brackets.

import { post } from "./api.js";
import { make } from "./element.js";
import { on } from "./events.js";
import { onEdit, readPrompts, textArea } from "./prompts.js";

const AFTER_MS = 800;
const BOXES = /** @type {const} */ ({ prompt: "prompt", negative: "negative_prompt" });
/** @type {Map<string, number>} */
const waiting = new Map();

export function watchCounters() {
  for (const task of ["txt2img", "img2img"]) later(task, 0);
  onEdit((task) => later(task, AFTER_MS));
  document.addEventListener("change", (event) => {
    const task = event.target instanceof Element && event.target.closest("#tab_img2img") ? "img2img" : "txt2img";
    later(task, AFTER_MS);
  });
  on("catalogue", (data) => data.kind === "embedding" && ["txt2img", "img2img"].forEach((task) => later(task, AFTER_MS)));
}

/** @param {string} task @param {number} milliseconds */
function later(task, milliseconds) {
  clearTimeout(waiting.get(task));
  waiting.set(task, setTimeout(() => count(task), milliseconds));
}

/** @param {string} task */
async function count(task) {
  if (!textArea(task, "prompt")) return later(task, AFTER_MS); // gradio has not drawn the tab yet
  const { prompt, negative } = readPrompts(task);
  const steps = Number(/** @type {HTMLInputElement | null} */ (document.querySelector(`#${task}_steps input[type=number]`))?.value) || 20;
  const sampler = /** @type {HTMLInputElement | null} */ (document.querySelector(`#${task}_sampling input`))?.value;
  try {
    const told = await post("/prompts/survey", {
      prompt,
      negative_prompt: negative,
      styles: chosenStyles(task),
      steps,
      ...(sampler ? { sampler_name: sampler } : {}),
    });
    for (const [box, name] of Object.entries(BOXES)) show(task, /** @type {"prompt" | "negative"} */ (box), told[name]);
  } catch {
    // the server is away: the counters stay as they are, and the chip at the top says so
  }
}

/** @param {string} task @param {"prompt" | "negative"} box @param {{used: number, limit: number, problems: string[]}} told */
function show(task, box, told) {
  const place = textArea(task, box)?.parentElement;
  if (!place) return;
  let counter = place.querySelector(".tb-counter");
  if (!counter) {
    counter = make("span", { class: "tb-counter", id: `${task}${box === "negative" ? "_negative" : ""}_token_counter` });
    place.classList.add("tb-counted");
    place.append(counter);
  }
  counter.textContent = `${told.used}/${told.limit}`;
  counter.classList.toggle("is-wrong", told.problems.length > 0);
  counter.setAttribute("title", told.problems.join("\n") || "Tokens of this prompt, and how many fit into its chunks of 75");
}

/** The styles chosen for a task, by the names that gradio shows as tokens. @param {string} task */
export const chosenStyles = (task) =>
  [...document.querySelectorAll(`#${task}_styles .token > span`)].map((token) => token.textContent?.trim() ?? "").filter(Boolean);
