// The page's own part: everything that lives while pictures are made. The controls are gradio's.

import "./cards.js";
import "./pnginfo.js";
import "./results.js";
import "./worker.js";
import { watchCounters } from "./counter.js";
import { watchDrops } from "./drops.js";
import { on } from "./events.js";
import { useSeed } from "./handover.js";
import { withPainting } from "./inpaint.js";
import { follow, shownJob } from "./jobs.js";
import { changed, watchPrompts } from "./prompts.js";
import { watchKeys } from "./shortcuts.js";
import { toast } from "./toasts.js";

// What gradio's buttons call.
Object.assign(window, {
  tagbrush: {
    changed,
    withPainting,
    say: (/** @type {string} */ text) => toast(text, "error"),
    reuseSeed: (/** @type {string} */ task) => {
      const picture = shownJob(task)?.pictures.at(-1);
      if (picture) useSeed(task, picture.seed);
    },
  },
});

watchPrompts();
watchKeys();
watchDrops();
watchCounters();
follow();
on("catalogue", (data) => {
  if (!data.kind || data.kind === "checkpoint") document.getElementById("refresh_sd_model_checkpoint")?.click();
});
