// Failures, dead letters, settings, versions.

import { byId, element, pend, reconcile, say, show } from "./dom.js";
import { clock, count, plural } from "./format.js";

const OUTCOMES = { rejected: "rejected", retry: "tried again", blocked: "blocked", gone: "gone" };

/** `retryOf(failure)`: what a retry button does for it, or null. */
export function failures(list, retryOf) {
  show(byId("failures-none"), list.length === 0);
  say(byId("failures-count"), list.length ? plural(list.length, "object") : "");
  const make = () => {
    const item = element("li", {});
    item.tabIndex = -1;
    item.parts = {
      at: element("time", { className: "muted" }),
      key: element("span", { className: "key wrap" }),
      reason: element("span", { className: "tag" }),
      detail: element("span", { className: "detail" }),
      retry: element("button", { type: "button", className: "small acts" }, "Retry"),
    };
    const { at, key, reason, detail, retry } = item.parts;
    retry.addEventListener("click", () => {
      // The button goes away, and whoever came by keyboard stays.
      item.focus({ preventScroll: true });
      pend(retry, true);
      item.retry?.();
    });
    item.append(at, key, element("span", { className: "side" }, reason, retry), detail);
    return item;
  };
  const patch = (item, failure) => {
    const { at, key, reason, detail, retry } = item.parts;
    say(at, clock(failure.at));
    at.dateTime = new Date(failure.at).toISOString();
    say(key, failure.key || "(a message that names no object)");
    key.title = failure.key ? `s3://${failure.bucket}/${failure.key}` : "";
    say(reason, failure.mended ? "done since" : failure.outcome === "rejected" ? failure.reason : OUTCOMES[failure.outcome]);
    item.dataset.outcome = failure.mended ? "mended" : failure.outcome;
    const receives = failure.receives > 1 ? ` (received ${failure.receives} times)` : "";
    say(detail, failure.detail + receives);
    item.retry = failure.mended ? null : retryOf(failure);
    pend(retry, false);
    show(retry, item.retry != null);
    retry.setAttribute("aria-label", `Retry ${failure.key}`);
  };
  reconcile(byId("failures"), list, (f) => `${f.bucket}/${f.key}/${f.key ? "" : f.id}`, make, patch);
}

/** Gives how many there are; null: nobody knows. */
export function letters({ groups, count: total, seen, trouble, url, scope }) {
  const sum = groups.reduce((n, group) => n + group.count, 0);
  const known = total ?? (scope === "queue" && sum > 0 ? sum : null);
  say(byId("letters-count"), known == null ? "" : `${count(known)} in the queue`);
  // Nobody may be told that there are none because nobody could ask.
  const none = known === 0 ? "None." : trouble ? `Not known: ${trouble}` : "Looking…";
  show(byId("letters-none"), groups.length === 0 && !(known > 0));
  say(byId("letters-none"), none);
  const most = Math.max(1, ...groups.map((group) => group.count));
  const make = () => {
    const item = element("li", {});
    item.parts = {
      reason: element("span", { className: "key" }),
      number: element("b", {}),
      meter: element("span", { className: "meter", ariaHidden: "true" }, element("span", {})),
      example: element("span", { className: "muted small wrap" }),
    };
    item.append(...Object.values(item.parts));
    return item;
  };
  const patch = (item, group) => {
    say(item.parts.reason, group.reason);
    say(item.parts.number, count(group.count));
    item.parts.meter.firstElementChild.style.width = `${(100 * group.count) / most}%`;
    say(item.parts.example, group.example);
  };
  reconcile(byId("letters"), groups, (group) => group.reason, make, patch);
  const own = "By reason: what this worker has sent since it started; longshore dlq list goes through the queue.";
  const part = seen != null && seen < total ? `${count(seen)} of about ${count(total)} looked at; longshore dlq list goes through all.` : "";
  const said = groups.length === 0 && known == null;
  say(byId("letters-note"), [scope === "queue" ? part : own, said ? "" : trouble].filter(Boolean).join(" "));
  byId("letters-note").title = url ?? "";
  return known;
}

export function settings(list) {
  say(byId("settings-count"), `${list.filter((s) => s.from !== "default").length} of ${list.length} set`);
  const make = () => element("tr", {}, element("th", { scope: "row" }), element("td", {}), element("td", {}));
  const patch = (row, setting) => {
    say(row.cells[0], setting.flag);
    say(row.cells[1], setting.value);
    say(row.cells[2], setting.from);
    row.dataset.set = setting.from !== "default";
  };
  reconcile(byId("settings").tBodies[0], list, (setting) => setting.flag, make, patch);
}

export function versions({ versions, pid }) {
  say(byId("versions"), [...versions.map((pair) => pair.join(" ")), `process ${pid}`].join("  ·  "));
}
