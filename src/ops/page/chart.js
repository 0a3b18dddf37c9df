// A figure and its last five minutes, as one tile.

import { drawn, element, say } from "./dom.js";
import { clock } from "./format.js";

const WIDTH = 300;
const HEIGHT = 56;
const SPAN = 300_000;
/** Seconds that may be missing before a line is broken. */
const GAP = 4_000;

/** The next 1, 2 or 5 times a power of ten: a scale that seldom changes. */
function ceiling(n) {
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 5, 10].map((m) => m * power).find((m) => m >= n);
}

export class Chart {
  /** `about`: what the figure covers; `lines`: what to draw of a sample, the first one filled; `figure`: number and unit of a value. */
  constructor({ label, about, lines, figure, least = 1 }) {
    Object.assign(this, { label, lines, figure, least });
    this.value = element("b", { className: "value" });
    this.unit = element("span", { className: "unit" });
    this.note = element("span", { className: "note muted" });
    this.top = element("span", { className: "scale muted", ariaHidden: "true" });
    this.area = drawn("path", { class: "area" });
    this.paths = lines.map((_, i) => drawn("path", { class: `line line-${i}`, "vector-effect": "non-scaling-stroke" }));
    this.cursor = drawn("line", { class: "cursor", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke" });
    this.svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.svg.append(this.area, ...this.paths.reverse(), this.cursor);
    this.paths.reverse();
    const head = element("p", { className: "figure" }, this.value, this.unit, this.note);
    const plot = element("div", { className: "plot" }, this.svg, this.top);
    const ends = element("p", { className: "ends muted", ariaHidden: "true" }, element("span", {}, "5 min ago"), element("span", {}, "now"));
    this.node = element("div", { className: "tile", title: about }, element("h3", {}, label), head, plot, ends);
    plot.addEventListener("pointermove", (event) => this.point(event));
    plot.addEventListener("pointerleave", () => this.point(null));
    this.samples = [];
  }

  update(samples, now) {
    Object.assign(this, { samples, now });
    const values = this.lines.map((line) => samples.map((sample) => line.of(sample)));
    const highest = Math.max(this.least, ...values.flat().filter((v) => v != null));
    this.limit = ceiling(highest);
    this.paths.forEach((path, i) => path.setAttribute("d", this.trace(values[i], false)));
    this.area.setAttribute("d", this.trace(values[0], true));
    const [number, unit] = this.figure(this.limit);
    say(this.top, `${number} ${unit}`.trim());
    this.tell();
  }

  x(sample) {
    return WIDTH - ((this.now - sample.at) / SPAN) * WIDTH;
  }

  y(value) {
    return HEIGHT - 1 - (value / this.limit) * (HEIGHT - 2);
  }

  trace(values, closed) {
    let path = "";
    let last = null;
    let first = null;
    const close = () => {
      if (closed && last) path += `L${this.x(last).toFixed(1)} ${HEIGHT}L${first.toFixed(1)} ${HEIGHT}Z`;
    };
    values.forEach((value, i) => {
      const sample = this.samples[i];
      const x = this.x(sample);
      if (value == null || x < -2) return;
      const joined = last && sample.at - last.at <= GAP;
      if (!joined) {
        close();
        first = x;
      }
      path += `${joined ? "L" : "M"}${x.toFixed(1)} ${this.y(value).toFixed(1)}`;
      last = sample;
    });
    close();
    return path;
  }

  /** The value under the pointer, else the newest. */
  point(event) {
    this.pointed = null;
    if (event && this.samples.length) {
      const box = this.svg.getBoundingClientRect();
      const at = this.now - (1 - (event.clientX - box.left) / box.width) * SPAN;
      const near = (a, b) => (Math.abs(a.at - at) <= Math.abs(b.at - at) ? a : b);
      this.pointed = this.samples.reduce(near);
    }
    this.tell();
  }

  tell() {
    const sample = this.pointed ?? this.samples.at(-1);
    if (!sample) return;
    const [number, unit] = this.figure(this.lines[0].of(sample));
    say(this.value, number);
    say(this.unit, unit);
    const others = this.lines.slice(1).map((line) => `${line.name} ${this.figure(line.of(sample)).join(" ").trim()}`);
    if (this.pointed) others.push(clock(sample.at));
    say(this.note, others.join(" · "));
    this.cursor.style.display = this.pointed ? "" : "none";
    for (const end of ["x1", "x2"]) this.cursor.setAttribute(end, this.x(sample));
    this.svg.setAttribute("aria-label", `${this.label} over the last five minutes; now ${number} ${unit}`.trim());
  }
}
