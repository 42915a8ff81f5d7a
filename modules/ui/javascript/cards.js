// <tb-cards kind="lora" task="txt2img">: the files of one kind as cards. However many there are, only those in
// view are in the page; the others are asked for, a page at a time, as they scroll into view.

import { at, get, post, searchCatalogue } from "./api.js";
import { make, Mounted } from "./element.js";
import { on } from "./events.js";
import { onEdit, readPrompts, targetBox, write } from "./prompts.js";
import { cardWeight, contains, toggle } from "./tags.js";
import { tell, toast } from "./toasts.js";

const PAGE = 60;
const CARD = { width: 132, height: 186, gap: 10 };
const FOLDERS = { lora: "models/Lora", hypernetwork: "models/hypernetworks", embedding: "embeddings", checkpoint: "models/Stable-diffusion" };
const SORTS = [
  ["path", "Path"],
  ["name", "Name"],
  ["created", "Date created"],
  ["modified", "Date modified"],
];

class Cards extends Mounted {
  /** @param {AbortSignal} signal */
  mount(signal) {
    this.kind = this.getAttribute("kind") ?? "lora";
    this.task = this.getAttribute("task") ?? "txt2img";
    this.query = { search: "", sort: "path", order: "asc", category: "" };
    this.reset();
    this.build();
    on("catalogue", (data) => (!data.kind || data.kind === this.kind) && this.reload(), signal);
    onEdit((task) => task === this.task && this.markChosen(), signal);
    const resized = new ResizeObserver(() => this.render());
    resized.observe(this.view);
    signal.addEventListener("abort", () => resized.disconnect());
    this.reload();
  }

  reset() {
    this.total = 0;
    /** @type {Map<number, any>} */
    this.items = new Map();
    /** @type {Set<number>} */
    this.asked = new Set();
    this.generation = (this.generation ?? 0) + 1;
  }

  build() {
    const label = `Search ${this.kind}`;
    this.search = make("input", { type: "search", class: "tb-search", placeholder: "Search", "aria-label": label });
    this.search.addEventListener("input", () => this.ask({ search: /** @type {HTMLInputElement} */ (this.search).value }));
    const sort = make("select", { class: "tb-select", "aria-label": "Sort by" }, ...SORTS.map(([value, text]) => make("option", { value }, text)));
    sort.addEventListener("change", () => this.ask({ sort: /** @type {HTMLSelectElement} */ (sort).value }));
    const order = make("button", { class: "tb-small tb-order", type: "button", title: "Turn the order round", "aria-label": "Turn the order round" }, "↑");
    order.addEventListener("click", () => {
      const next = this.query.order === "asc" ? "desc" : "asc";
      order.textContent = next === "asc" ? "↑" : "↓";
      this.ask({ order: next });
    });
    const refresh = make("button", { class: "tb-small tb-refresh", type: "button", title: "Look at the folder again", onclick: () => this.rescan() }, "Refresh");
    this.categories = make("div", { class: "tb-categories", role: "group", "aria-label": "Folders" });
    this.sheet = make("div", { class: "tb-sheet" });
    this.empty = make("p", { class: "tb-hint" });
    this.view = make("div", { class: "tb-cards-view", tabindex: -1 }, this.sheet, this.empty);
    this.view.addEventListener("scroll", () => this.render(), { passive: true });
    this.append(make("div", { class: "tb-cards-bar" }, this.search, sort, order, refresh), this.categories, this.view);
  }

  /** @param {Partial<{search: string, sort: string, order: string, category: string}>} change */
  ask(change) {
    this.query = { ...this.query, ...change };
    this.view.scrollTop = 0;
    this.reload();
  }

  rescan() {
    tell(post(`/catalogue/refresh?kind=${this.kind}`).then(() => this.reload()));
  }

  /** Ask for everything in view anew, and keep showing what is there until it comes. */
  async reload() {
    this.generation += 1;
    const generation = this.generation;
    const first = Math.floor(this.firstVisible() / PAGE);
    try {
      const pages = await Promise.all([...new Set([0, first])].map(async (page) => [page, await this.fetchPage(page)]));
      if (generation !== this.generation) return;
      this.items = new Map();
      this.asked = new Set();
      for (const [page, answer] of pages) this.accept(page, answer);
      this.renderCategories(pages[0][1].categories ?? []);
    } catch (error) {
      if (generation === this.generation) this.showEmpty(/** @type {Error} */ (error).message);
      setTimeout(() => generation === this.generation && this.isConnected && this.reload(), 3000);
    }
  }

  /** @param {number} page */
  fetchPage(page) {
    return searchCatalogue(this.kind, { ...this.query, offset: page * PAGE, limit: PAGE });
  }

  /** @param {number} page @param {any} answer */
  accept(page, answer) {
    this.asked.add(page);
    this.total = answer.total;
    answer.items.forEach((/** @type {any} */ item, /** @type {number} */ index) => this.items.set(page * PAGE + index, item));
    this.render();
  }

  columns() {
    return Math.max(1, Math.floor((this.view.clientWidth + CARD.gap) / (CARD.width + CARD.gap)));
  }

  firstVisible() {
    return Math.floor(this.view.scrollTop / (CARD.height + CARD.gap)) * this.columns();
  }

  render() {
    const columns = this.columns();
    const rowHeight = CARD.height + CARD.gap;
    const width = (this.view.clientWidth - CARD.gap * (columns - 1)) / columns;
    this.sheet.style.height = `${Math.ceil(this.total / columns) * rowHeight}px`;
    const first = Math.max(0, this.firstVisible() - columns);
    const last = Math.min(this.total, this.firstVisible() + columns * (Math.ceil(this.view.clientHeight / rowHeight) + 2));
    const shown = [];
    for (let index = first; index < last; index += 1) {
      const item = this.items.get(index);
      if (!item) this.wantPage(Math.floor(index / PAGE));
      else shown.push(this.place(this.cardFor(item), index, columns, width, rowHeight));
    }
    if (shown.some((card, index) => this.sheet.children[index] !== card) || this.sheet.children.length !== shown.length) {
      this.sheet.replaceChildren(...shown);
    }
    this.showEmpty(this.total ? "" : this.emptyText());
    this.markChosen();
  }

  /** @param {number} page */
  wantPage(page) {
    if (this.asked.has(page)) return;
    this.asked.add(page);
    const generation = this.generation;
    this.fetchPage(page)
      .then((answer) => generation === this.generation && this.accept(page, answer))
      .catch(() => this.asked.delete(page));
  }

  /** @param {HTMLElement} card @param {number} index @param {number} columns @param {number} width @param {number} rowHeight */
  place(card, index, columns, width, rowHeight) {
    card.style.width = `${width}px`;
    card.style.height = `${CARD.height}px`;
    card.style.transform = `translate(${(index % columns) * (width + CARD.gap)}px, ${Math.floor(index / columns) * rowHeight}px)`;
    return card;
  }

  /** The card of an item; the same element as long as the item says the same. @param {any} item */
  cardFor(item) {
    item.element ??= this.buildCard(item);
    return item.element;
  }

  /** @param {any} item */
  buildCard(item) {
    const art = item.preview
      ? make("img", { class: "tb-art", src: at(item.preview), alt: "", loading: "lazy", decoding: "async" })
      : make("div", { class: "tb-art tb-letter" }, [...item.name][0]?.toUpperCase() ?? "?");
    const kind = [item.category, familyName(item.family), VARIANTS[item.variant]].filter(Boolean).join(" · ");
    const below = item.error ? "cannot be used" : item.skipped ? "for another model" : kind;
    const card = make(
      "button",
      { class: "card", type: "button", "data-name": item.name, "data-kind": item.kind, title: describe(item), onclick: () => this.click(item) },
      art,
      make("span", { class: "tb-card-name" }, item.name),
      make("span", { class: "tb-card-below" }, below || " "),
    );
    card.classList.toggle("is-broken", Boolean(item.error));
    card.classList.toggle("is-skipped", Boolean(item.skipped));
    return card;
  }

  /** @param {any} item */
  click(item) {
    if (item.error) {
      toast(`${item.name} cannot be used: ${item.error}`, "error");
    } else if (item.kind === "checkpoint") {
      tell(post("/options", { sd_model_checkpoint: item.title }).then(() => document.getElementById("refresh_sd_model_checkpoint")?.click()));
    } else {
      tell(this.toggleInPrompt(item));
    }
  }

  /** @param {any} item */
  async toggleInPrompt(item) {
    const needsWeight = !item.preferred_weight && item.kind !== "embedding";
    const fallback = needsWeight ? ((await get("/options")).extra_networks_default_multiplier ?? 1) : 1;
    const after = toggle(readPrompts(this.task), item, targetBox(this.task), cardWeight(item, fallback));
    write(this.task, "prompt", after.prompt);
    write(this.task, "negative", after.negative);
  }

  markChosen() {
    const prompts = readPrompts(this.task);
    for (const item of this.items.values()) {
      if (!item.element?.isConnected || item.kind === "checkpoint") continue;
      const isChosen = contains(prompts.prompt, item) || contains(prompts.negative, item);
      item.element.classList.toggle("is-chosen", isChosen);
      item.element.setAttribute("aria-pressed", String(isChosen));
    }
  }

  /** @param {string[]} categories */
  renderCategories(categories) {
    const names = categories.filter(Boolean);
    const chip = (/** @type {string} */ text, /** @type {string} */ category) =>
      make(
        "button",
        {
          class: "tb-chip",
          type: "button",
          "aria-pressed": String(this.query.category === category),
          onclick: () => this.ask({ category: this.query.category === category ? "" : category }),
        },
        text,
      );
    this.categories.replaceChildren(...(names.length ? [chip("All", ""), ...names.map((name) => chip(name, name))] : []));
  }

  emptyText() {
    if (this.query.search || this.query.category) return "Nothing here matches. Clear the search to see everything.";
    const folder = FOLDERS[/** @type {keyof typeof FOLDERS} */ (this.kind)];
    return `Nothing here yet. Drop files into ${folder} and they appear by themselves.`;
  }

  /** @param {string} text */
  showEmpty(text) {
    this.empty.textContent = text;
    this.empty.hidden = !text;
  }
}

/** @param {string} family */
const familyName = (family) =>
  ({ sd1: "SD 1", sd2: "SD 2", sdxl: "SDXL", sdxl_refiner: "SDXL refiner" })[family] ?? family ?? "";

/** What a checkpoint is besides its family, where that is worth a word. @type {Record<string, string>} */
const VARIANTS = { inpaint: "inpainting", pix2pix: "instruct-pix2pix" };

/** @param {any} item */
function describe(item) {
  if (item.error) return `${item.name} cannot be used: ${item.error}`;
  const words = item.activation_text ? `Adds: ${item.activation_text}` : "";
  const name = item.category ? `${item.category}/${item.name}` : item.name;
  return [name, item.description, words, item.skipped].filter(Boolean).join("\n");
}

customElements.define("tb-cards", Cards);
