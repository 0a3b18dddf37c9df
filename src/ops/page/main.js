// One stream of events, and who is told of them.

import { Chart } from "./chart.js";
import { byId, close, say, show } from "./dom.js";
import { age, clock, count, plural, rate, time } from "./format.js";
import * as gallery from "./gallery.js";
import * as panels from "./panels.js";
import * as recipe from "./recipe.js";
import * as upload from "./upload.js";

/** What charts show, in milliseconds. */
const SPAN = 300_000;
const LONGEST_PAUSE = 5_000;
// Samples come every second: a worker that stands still closes nothing, and says nothing.
const LONGEST_SILENCE = 10_000;

const charts = [
  new Chart({
    label: "Backlog",
    about: "Messages that wait in the queue, and that are held, by SQS's own estimate",
    lines: [{ of: (s) => s.waiting }, { name: "held by workers", of: (s) => s.hidden }],
    figure: (n) => [count(n), ""],
    least: 5,
  }),
  new Chart({
    label: "In flight here",
    about: "Messages in the hands of this worker",
    lines: [{ of: (s) => s.in_flight }],
    figure: (n) => [count(n), ""],
    least: 5,
  }),
  new Chart({
    label: "Rate",
    about: "Over the last 5 seconds; longshore status tells that of the last minute",
    lines: [{ of: (s) => s.rate }, { name: "failing", of: (s) => s.failures }],
    figure: (n) => [rate(n), n == null ? "" : "/s"],
    least: 2,
  }),
  new Chart({
    label: "Latency, median",
    about: "Of what ended in the last 10 seconds; longshore status tells those of the last five minutes",
    lines: [{ of: (s) => s.p50_ms }, { name: "p99", of: (s) => s.p99_ms }],
    figure: time,
    least: 50,
  }),
];
byId("charts").append(...charts.map((chart) => chart.node));

let about = null;
let samples = [];
let failures = [];
let settings = [];
let lostAt = null;
let pause = 500;
let timer = null;
let source = null;
let silence = null;

function heardSomething() {
  clearTimeout(silence);
  silence = setTimeout(() => lost("The worker does not answer,"), LONGEST_SILENCE);
}

function whole(data) {
  const version = JSON.stringify(data.about.versions);
  // Another version may speak otherwise: take its page.
  if (about && JSON.stringify(about.versions) !== version) return location.reload();
  if (about && about.started !== data.about.started) recipe.forget();
  about = data.about;
  // A new process knows nothing of the time before it; this page does, and of the hole between them.
  const from = data.samples[0]?.at ?? Infinity;
  samples = [...samples.filter((sample) => sample.at < from), ...data.samples];
  say(byId("mode"), about.mode === "local" ? "local" : "read-only");
  show(byId("mode"), true);
  say(byId("queue"), about.queue.split("/").at(-1));
  byId("queue").title = about.queue;
  settings = data.settings;
  panels.settings(settings);
  tellLetters(data.letters);
  panels.versions(about);
  show(byId("studio"), Boolean(data.studio));
  if (data.studio) {
    upload.start(data.studio.max_bytes);
    gallery.endings(data.studio.suffixes);
    tellRecipe(data.studio.recipe);
    gallery.update(data.studio.pictures, true);
  }
  tellFailures(data.failures);
  tellSamples();
}

function tellRecipe(now) {
  recipe.update(now);
  if (!now.changed) return;
  panels.settings(settings.map((s) => (s.flag in now ? { ...s, value: now[s.flag], from: "this page" } : s)));
}

function tellFailures(list) {
  failures = list;
  const open = list.filter((failure) => !failure.mended).length;
  say(byId("to-failures"), plural(open, "failure"));
  show(byId("to-failures"), open > 0);
  panels.failures(list, (failure) => {
    const picture = failure.outcome === "rejected" && gallery.find(failure.bucket, failure.key);
    return picture && picture.state === "failed" ? () => gallery.retry(picture.id) : null;
  });
}

function tellLetters(letters) {
  const known = panels.letters(letters);
  say(byId("to-letters"), plural(known ?? 0, "dead letter"));
  show(byId("to-letters"), known > 0);
}

function tellSamples() {
  const last = samples.at(-1);
  if (!last) return;
  samples = samples.filter((sample) => sample.at > last.at - SPAN);
  for (const chart of charts) chart.update(samples, last.at);
  say(byId("uptime"), `up ${age((last.at - about.started) / 1000)}`);
  say(byId("asked"), last.unasked ?? "");
  show(byId("asked"), last.unasked != null);
  if (last.phase !== "running") tellStatus("draining", last.phase, "Told to stop: what runs is finished, nothing new is begun.");
  else if (last.trouble) tellStatus("trouble", "not ready", last.trouble);
  else tellStatus("working", "working", "");
}

function tellStatus(state, word, line) {
  const status = byId("status");
  if (status.dataset.state !== state) status.dataset.state = state;
  document.body.dataset.state = state;
  close(state === "closed");
  say(byId("status-text"), word);
  const banner = byId("banner");
  banner.dataset.state = state;
  say(banner, line);
  show(banner, line !== "");
  document.title = state === "working" ? "Longshore" : `${word} – Longshore`;
}

const heard = {
  whole,
  sample(sample) {
    samples.push(sample);
    tellSamples();
  },
  failures: tellFailures,
  letters: tellLetters,
  recipe: tellRecipe,
  pictures(list) {
    gallery.update(list, false);
    tellFailures(failures);
  },
};

/** Ends the stream and says nothing of it. */
function hangUp() {
  source?.close();
  source = null;
  clearTimeout(silence);
  clearTimeout(timer);
}

function lost(why) {
  hangUp();
  // Nobody looks: asked anew when somebody does.
  if (document.hidden) return;
  lostAt ??= Date.now();
  tellStatus("closed", "closed", `${why} since ${clock(lostAt)}. This page goes on by itself when the worker is back.`);
  timer = setTimeout(connect, pause * (0.75 + Math.random() / 2));
  pause = Math.min(2 * pause, LONGEST_PAUSE);
}

async function connect() {
  clearTimeout(timer);
  if (source || document.hidden) return;
  // Asked first: an event source does not tell why it was refused.
  const patience = AbortSignal.timeout(LONGEST_SILENCE);
  const answer = await fetch("/events", { method: "HEAD", signal: patience }).catch(() => null);
  if (answer?.status === 401) return location.reload();
  if (answer?.status === 503) return lost("Too many pages of this worker are open;");
  if (!answer?.ok) return lost("The worker is closed, or cannot be reached,");
  if (source || document.hidden) return;
  source = new EventSource("/events");
  heardSomething();
  source.onerror = () => lost("The worker is closed, or cannot be reached,");
  source.onopen = () => {
    lostAt = null;
    pause = 500;
  };
  for (const [name, listener] of Object.entries(heard)) {
    source.addEventListener(name, (event) => {
      heardSomething();
      listener(JSON.parse(event.data));
    });
  }
}

// Browsers open six connections to a host: pages in the background would leave none for the one that is looked at.
addEventListener("visibilitychange", () => (document.hidden ? hangUp() : connect()));
// A computer that slept need not wait for the pause to end.
addEventListener("online", connect);
recipe.start();
gallery.start();
connect();
