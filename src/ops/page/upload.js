// Pictures from this computer: dropped anywhere, chosen, or pasted.

import { byId, change, element, show, say } from "./dom.js";
import { bytes, plural } from "./format.js";

const AT_ONCE = 3;
let most = Infinity;
let waiting = [];
let [running, finished, sent, begun] = [0, 0, 0, 0];

export function start(maxBytes) {
  const first = most === Infinity;
  most = maxBytes;
  if (!first) return;
  const input = byId("files");
  byId("choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    add([...input.files].map((file) => ({ file, name: file.name })));
    input.value = "";
  });
  document.addEventListener("paste", (event) => {
    add([...(event.clipboardData?.files ?? [])].map((file) => ({ file, name: file.name })));
  });
  watchDrops();
}

function watchDrops() {
  const overlay = byId("drop");
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  const entered = (by) => {
    depth = Math.max(0, depth + by);
    show(overlay, depth > 0);
  };
  document.addEventListener("dragenter", (event) => isFiles(event) && entered(1));
  document.addEventListener("dragleave", (event) => isFiles(event) && entered(-1));
  document.addEventListener("dragover", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  document.addEventListener("drop", async (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    depth = 0;
    show(overlay, false);
    // Both are gone once this function returns to the browser.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.());
    const files = [...event.dataTransfer.files];
    add(entries.length && entries.every(Boolean) ? (await Promise.all(entries.map(walk))).flat() : files.map((file) => ({ file, name: file.name })));
  });
}

/** The files of a dropped entry; of a folder, all below it. */
async function walk(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, name: entry.fullPath.replace(/^\//, "") }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return found;
    found.push(...(await Promise.all(some.map(walk))).flat());
  }
}

function add(list) {
  if (list.length === 0) return;
  if (running === 0 && waiting.length === 0) {
    [finished, sent, begun] = [0, 0, 0];
    byId("upload-errors").replaceChildren();
    show(byId("upload-errors"), false);
  }
  waiting.push(...list);
  begun += list.length;
  while (running < AT_ONCE && waiting.length) next();
  tell();
}

async function next() {
  const one = waiting.shift();
  running += 1;
  try {
    if (one.file.size > most) throw new Error(`${bytes(one.file.size)} are more than ${bytes(most)} (--max-bytes)`);
    const name = encodeURIComponent(one.name);
    await change("/pictures", { body: one.file, headers: { "x-longshore-name": name, "content-type": "application/octet-stream" } });
    sent += 1;
  } catch (error) {
    byId("upload-errors").append(element("li", {}, `${one.name}: ${error.message}`));
    show(byId("upload-errors"), true);
  }
  running -= 1;
  finished += 1;
  tell();
  if (waiting.length) next();
}

function tell() {
  const over = finished === begun;
  const failed = finished - sent;
  const result = `${plural(sent, "picture")} sent${failed ? `, ${failed} not` : ""}`;
  say(byId("upload-status"), over ? result : `uploading ${finished + 1} of ${begun}`);
  const progress = byId("upload-progress");
  progress.max = begun;
  progress.value = finished;
  show(progress, !over);
}
