// Pictures on their way, and their renditions side by side.

import { byId, change, element, pend, reconcile, say, show } from "./dom.js";
import { bytes, plural, timeText } from "./format.js";

const STEPS = ["uploaded", "queued", "in work", "done"];
/** How many steps a picture has come to, and what is said of it. */
const STATES = {
  uploading: [0, "uploading"],
  queued: [2, "queued"],
  working: [3, "in work"],
  done: [4, "done"],
  skipped: [4, "skipped"],
  retrying: [2, "will be tried again"],
  failed: [4, "failed"],
};
const MOVING = ["uploading", "queued", "working", "retrying"];

/** Shown at first; older ones on demand. */
const NEWEST = 24;

const pictures = new Map();
let asked = false;
let all = false;
let suffixes = "";

/** What keys must end in, as the setting has it. */
export function endings(list) {
  suffixes = list.join(", ");
}

export function start() {
  byId("more").addEventListener("click", () => {
    all = true;
    render();
    // The button is gone; what it brought comes next.
    byId("gallery").children[NEWEST]?.focus({ preventScroll: true });
  });
}

/** `whole`: these are all there are. */
export function update(list, whole) {
  if (whole) pictures.clear();
  for (const picture of list) {
    const known = pictures.get(picture.id);
    if (!known || known.revision <= picture.revision) pictures.set(picture.id, picture);
  }
  if (asked) return;
  asked = true;
  // However many are told of at once, they are drawn once a frame.
  const draw = () => {
    asked = false;
    render();
  };
  if (document.hidden) setTimeout(draw);
  else requestAnimationFrame(draw);
}

export const find = (bucket, key) => [...pictures.values()].find((p) => p.bucket === bucket && p.key === key);

export async function retry(id) {
  const picture = pictures.get(id);
  say(byId("announce"), `Retrying ${picture?.key ?? ""}`);
  const card = byId("gallery").querySelector(`[data-key="${id}"]`);
  if (card) pend(card.parts.retry, true);
  try {
    await change(`/pictures/${id}/retry`);
  } catch (error) {
    if (!card) return;
    pend(card.parts.retry, false);
    card.troubleAfter = picture?.total_ms;
    say(card.parts.trouble, error.message);
    show(card.parts.trouble, true);
  }
}

function render() {
  const list = [...pictures.values()].sort((a, b) => b.uploaded - a.uploaded || b.id - a.id);
  const shown = all ? list : list.slice(0, NEWEST);
  show(byId("more"), shown.length < list.length);
  say(byId("more"), `Show all ${list.length}`);
  reconcile(byId("gallery"), shown, (picture) => picture.id, make, patch);
  show(byId("empty"), list.length === 0);
  const done = list.filter((p) => p.state === "done").length;
  const failed = list.filter((p) => p.state === "failed").length;
  const moving = list.filter((p) => MOVING.includes(p.state)).length;
  const parts = [`${done} done`];
  if (failed) parts.push(`${failed} failed`);
  const skipped = list.filter((p) => p.state === "skipped").length;
  if (skipped) parts.push(`${skipped} skipped`);
  if (moving) parts.push(`${moving} on the way`);
  say(byId("tally"), list.length ? `${plural(list.length, "picture")}: ${parts.join(", ")}` : "");
  if (moving === 0 && list.length) say(byId("announce"), `${done} done, ${failed} failed`);
}

function make(picture) {
  const card = element("li", { className: "card", tabIndex: -1 });
  const parts = {
    key: element("span", { className: "key clip" }),
    size: element("span", { className: "muted" }),
    state: element("span", { className: "tag" }),
    steps: element("span", { className: "steps" }, ...STEPS.map((step) => element("span", {}, step))),
    pair: element("div", { className: "pair" }),
    hole: element("div", { className: "hole", ariaHidden: "true" }),
    why: element("p", { className: "why" }),
    reason: element("b", {}),
    detail: element("span", {}),
    stages: element("span", { className: "stages", ariaHidden: "true" }),
    times: element("p", { className: "times muted" }),
    retry: element("button", { type: "button", className: "small acts" }, "Retry"),
    trouble: element("p", { className: "trouble", role: "alert", hidden: true }),
  };
  card.parts = parts;
  parts.why.append(parts.reason, parts.detail);
  parts.retry.addEventListener("click", () => {
    // The button goes away, and whoever came by keyboard stays.
    card.focus({ preventScroll: true });
    retry(picture.id);
  });
  const head = element("div", { className: "card-head" }, parts.key, parts.size, parts.state);
  card.append(head, parts.steps, parts.pair, parts.hole, parts.why, parts.stages, parts.times, parts.retry, parts.trouble);
  return card;
}

function patch(card, picture) {
  if (card.revision === picture.revision) return;
  card.revision = picture.revision;
  const { parts } = card;
  const [behind, word] = STATES[picture.state] ?? [0, picture.state];
  card.dataset.state = picture.state;
  say(parts.key, picture.key);
  parts.key.title = `s3://${picture.bucket}/${picture.key}`;
  say(parts.size, picture.bytes ? bytes(picture.bytes) : "");
  say(parts.state, word);
  [...parts.steps.children].forEach((step, i) => {
    step.classList.toggle("behind", i < behind);
    step.ariaCurrent = i === Math.max(behind, 1) - 1 ? "step" : null;
  });
  show(parts.steps, MOVING.includes(picture.state));
  const fails = ["failed", "retrying", "skipped"].includes(picture.state);
  say(parts.reason, picture.reason ?? "");
  const detail = picture.detail === "ignored: suffix" ? `not one of ${suffixes}` : picture.detail;
  say(parts.detail, fails ? `${picture.reason ? ": " : ""}${detail}` : "");
  show(parts.why, fails);
  show(parts.retry, picture.state === "failed" && picture.reason !== "not-uploaded");
  parts.retry.setAttribute("aria-label", `Retry ${picture.key}`);
  pend(parts.retry, false);
  // What was said of the last retry, until there is something newer to say.
  if (picture.state !== "failed" || picture.total_ms !== card.troubleAfter) show(parts.trouble, false);
  patchPair(card, picture);
  patchTimes(parts, picture);
}

function patchPair({ parts }, picture) {
  // What was made of other bytes or before it failed is no picture of this state.
  const outputs = ["failed", "skipped"].includes(picture.state) ? [] : picture.outputs.map((o, i) => ({ ...o, i }));
  show(parts.pair, outputs.length > 0);
  // Where they will be: nothing jumps when they come.
  show(parts.hole, outputs.length === 0 && MOVING.includes(picture.state));
  const makeFigure = () => {
    const image = element("img", { loading: "lazy", decoding: "async" });
    const link = element("a", { target: "_blank", rel: "noopener" }, image);
    const caption = element("figcaption", {}, element("b", {}), element("span", {}));
    return element("figure", {}, link, caption);
  };
  const patchFigure = (figure, output) => {
    const address = `/pictures/${picture.id}/${output.i}?made=${picture.made}`;
    const [link, caption] = figure.children;
    const image = link.firstElementChild;
    // Only what was made anew is loaded anew.
    if (link.getAttribute("href") !== address) {
      link.href = address;
      image.src = address;
    }
    image.alt = `${output.name} of ${picture.key}`;
    if (output.width) [image.width, image.height] = [output.width, output.height];
    say(caption.children[0], output.name);
    const size = output.width ? `${output.width}×${output.height} · ` : "";
    say(caption.children[1], `${size}${bytes(output.bytes)}`);
  };
  reconcile(parts.pair, outputs, (output) => output.name, makeFigure, patchFigure);
}

function patchTimes(parts, picture) {
  const known = picture.state === "done" && picture.stages.length > 0;
  show(parts.stages, known);
  show(parts.times, picture.total_ms != null && !["uploading", "queued"].includes(picture.state));
  const sum = picture.stages.reduce((n, [, ms]) => n + ms, 0) || 1;
  reconcile(
    parts.stages,
    known ? picture.stages : [],
    ([name]) => name,
    ([name]) => element("i", { className: name }),
    (bar, [name, ms]) => {
      bar.style.flexGrow = ms / sum;
      bar.title = `${name} ${timeText(ms)}`;
    },
  );
  const stages = known ? picture.stages.map(([name, ms]) => `${name} ${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)}`) : [];
  const waited = picture.queued_ms == null ? [] : [`queued ${timeText(picture.queued_ms)}`];
  say(parts.times, [`${timeText(picture.total_ms)} in work`, ...waited, ...stages].join(" · "));
}
