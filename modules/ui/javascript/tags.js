// What a click on a card does to the prompts: a pure function of text, so that it can be tested as one.

/**
 * @typedef {{kind: string, insert: string, activation_text?: string, negative_text?: string, preferred_weight?: number}} Card
 * @typedef {{prompt: string, negative: string}} Prompts
 */

const TAG_TYPES = { lora: "lora", hypernetwork: "hypernet" };
const SPELLINGS = { lora: "(?:lora|lyco|be-lora)", hypernet: "hypernet" };
const SEPARATOR = " ";

/**
 * The prompts after a click: what the card stands for is taken out of the target box if it is there, else put at its end.
 * A card with negative text puts its tag into the positive prompt and that text into the negative one; a word that is
 * its own negative text goes to the negative prompt alone.
 * @param {Prompts} prompts @param {Card} card @param {"prompt" | "negative"} target @param {number} weight
 * @returns {Prompts}
 */
export function toggle(prompts, card, target, weight) {
  if (card.negative_text === card.insert) return toggle(prompts, { ...card, negative_text: "" }, "negative", weight);
  const box = card.negative_text ? "prompt" : target;
  const isThere = contains(prompts[box], card);
  const changed = { ...prompts, [box]: isThere ? remove(prompts[box], card) : append(prompts[box], tagText(card, weight)) };
  if (card.negative_text) {
    const word = { kind: "text", insert: card.negative_text };
    const negative = contains(changed.negative, word) ? remove(changed.negative, word) : changed.negative;
    changed.negative = isThere ? negative : append(negative, card.negative_text);
  }
  return changed;
}

/** Whether a prompt holds what the card stands for, whatever its weight. @param {string} text @param {Card} card */
export const contains = (text, card) => pattern(card).test(text);

/** The text a card puts into a prompt. @param {Card} card @param {number} weight */
export function tagText(card, weight) {
  const type = TAG_TYPES[/** @type {keyof typeof TAG_TYPES} */ (card.kind)];
  if (!type) return card.insert;
  const activation = card.activation_text?.trim();
  return `<${type}:${card.insert}:${weight}>${activation ? SEPARATOR + activation : ""}`;
}

/** The weight a card is inserted with. @param {Card} card @param {number} fallback */
export const cardWeight = (card, fallback) => card.preferred_weight || fallback;

/** @param {string} text @param {string} added */
function append(text, added) {
  if (!text.trim()) return added;
  return text + (/\s$/.test(text) ? "" : SEPARATOR) + added;
}

/** @param {string} text @param {Card} card */
function remove(text, card) {
  const left = text.replace(pattern(card, "g"), "");
  return /^\s/.test(text) ? left : left.trimStart();
}

/**
 * A tag with any number of arguments, and the activation text directly after it; or a word as a whole, alone in a
 * weighted group or not. One separator before it belongs to it.
 * @param {Card} card @param {string} [flags]
 */
function pattern(card, flags = "") {
  const name = escaped(card.insert);
  const type = TAG_TYPES[/** @type {keyof typeof TAG_TYPES} */ (card.kind)];
  if (type) {
    const activation = card.activation_text?.trim();
    const after = activation ? `(?:\\s*${escaped(activation)}(?![\\p{L}\\p{N}_]))?` : "";
    const spelling = SPELLINGS[/** @type {keyof typeof SPELLINGS} */ (type)];
    return new RegExp(`\\s?<${spelling}:${name}(?::[^<>]*)?>${after}`, flags + "u");
  }
  const word = `(?<![\\p{L}\\p{N}_-])${name}(?![\\p{L}\\p{N}_-])`;
  return new RegExp(`(?:\\s?[([]+${word}(?::[^()\\[\\]]*)?[)\\]]+|\\s?${word})`, flags + "iu");
}

/** @param {string} text */
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
