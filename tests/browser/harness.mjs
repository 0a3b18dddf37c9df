// What the tests of the page share: processes, a browser, conditions to wait for.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

/** Generous, as test machines are shared: a test that works takes a fraction of it. */
export const LIMIT = 60_000;

/** Nothing of the machine's own configuration may reach a test. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(AWS_|LONGSHORE_)/.test(name)),
);

export class Process {
  constructor(program, args, env = {}) {
    this.lines = [];
    this.waiting = [];
    const options = { env: { ...environment, AWS_EC2_METADATA_DISABLED: "true", ...env }, stdio: ["ignore", "pipe", "pipe"] };
    this.child = spawn(program, args, options);
    this.ended = once(this.child, "exit");
    for (const stream of [this.child.stdout, this.child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        this.lines.push(line);
        this.waiting.forEach((look) => look());
      });
    }
  }

  /** The match of the first line, said already or yet to come, that is like this. */
  async line(pattern) {
    const found = () => this.lines.map((line) => line.match(pattern)).find(Boolean);
    return new Promise((resolve, reject) => {
      const give_up = setTimeout(() => reject(new Error(`no line like ${pattern} in:\n${this.lines.join("\n")}`)), LIMIT);
      const look = () => {
        const match = found();
        if (!match) return;
        clearTimeout(give_up);
        resolve(match);
      };
      this.waiting.push(look);
      look();
    });
  }

  async stop() {
    this.child.kill("SIGTERM");
    await this.ended;
  }
}

/** Asks again until the answer is true; fails with what was seen last. */
export async function until(what, ask) {
  const deadline = Date.now() + LIMIT;
  let seen;
  for (;;) {
    seen = await ask();
    if (seen === true) return;
    if (Date.now() > deadline) throw new Error(`not within ${LIMIT / 1000} s: ${what}; seen last: ${JSON.stringify(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export async function browser() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  // Inside a container there is no sandbox to be had, and /dev/shm is small.
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

/** A page whose complaints are kept; `page.complaints` must be empty in the end. */
export async function open(browser, address, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT);
  page.complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) page.complaints.push(message.text());
  });
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("dialog", async (dialog) => {
    page.complaints.push(`a dialog opened: ${dialog.message()}`);
    await dialog.dismiss();
  });
  // From the start: a dialog that opens before anybody listens is the operating system's.
  page.choosers = [];
  page.on("filechooser", (chooser) => page.choosers.push(chooser));
  await page.goto(address);
  return page;
}

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe-core finds serious or worse, a line each. */
export async function serious(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const bad = violations.filter((v) => ["serious", "critical"].includes(v.impact));
  return bad.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`);
}

/** Lets go of files over the page, as a file manager would. */
export async function drop(page, paths) {
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: paths, dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) {
    await session.send("Input.dispatchDragEvent", { type, x: 640, y: 600, data });
    if (type === "dragOver") await until("the page says that files may be dropped", () => page.isVisible("#drop"));
  }
  await session.detach();
}

/** A JPEG that a browser made: soft hills, another colour for each number. */
export async function jpeg(page, number, [width, height] = [1600, 1200]) {
  const base64 = await page.evaluate(
    ([number, width, height]) => {
      const canvas = Object.assign(document.createElement("canvas"), { width, height });
      const draw = canvas.getContext("2d");
      const sky = draw.createLinearGradient(0, 0, 0, height);
      sky.addColorStop(0, `hsl(${200 + 12 * number} 60% ${72 - 2 * number}%)`);
      sky.addColorStop(1, `hsl(${30 + 9 * number} 70% 78%)`);
      draw.fillStyle = sky;
      draw.fillRect(0, 0, width, height);
      draw.fillStyle = `hsl(${45 + number} 90% 88%)`;
      draw.beginPath();
      draw.arc(width * (0.15 + 0.06 * number), height * 0.3, height * 0.07, 0, 7);
      draw.fill();
      for (let hill = 0; hill < 5; hill += 1) {
        draw.fillStyle = `hsl(${170 + 14 * number + 8 * hill} ${28 + 4 * hill}% ${52 - 9 * hill}%)`;
        draw.beginPath();
        draw.moveTo(0, height);
        for (let x = 0; x <= width; x += 8) {
          const wave = Math.sin(x / (130 + 40 * hill) + number * 1.7 + hill * 2.1) + 0.4 * Math.sin(x / 47 + number + hill);
          draw.lineTo(x, height * (0.48 + 0.1 * hill) + wave * height * 0.05);
        }
        draw.lineTo(width, height);
        draw.fill();
      }
      return canvas.toDataURL("image/jpeg", 0.9).split(",")[1];
    },
    [number, width, height],
  );
  return Buffer.from(base64, "base64");
}
