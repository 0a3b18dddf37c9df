// The page in a real browser, before the real program:
//
//   node tests/browser/run.mjs LONGSHORE FOLDER_FOR_SCREENSHOTS
//
// Chromium is the one that CHROMIUM names, else /usr/bin/chromium.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Process, browser as launch, drop, jpeg, open, serious, until } from "./harness.mjs";

const [longshore, shots] = process.argv.slice(2);
assert(longshore && shots, "usage: run.mjs LONGSHORE FOLDER_FOR_SCREENSHOTS");
await mkdir(shots, { recursive: true });
const folder = await mkdtemp(join(tmpdir(), "longshore-page-"));
const TOKEN = "a-token-for-this-test-only";
const browser = await launch();
const running = [];

const card = (page, key) => page.locator("#gallery > li").filter({ has: page.getByText(key, { exact: true }) });
const cards = (page, state) => page.locator(`#gallery > li[data-state="${state}"]`);
const count = (locator, wanted) => async () => {
  const seen = await locator.count();
  return seen === wanted || seen;
};
const status = (page, wanted) => async () => {
  const seen = await page.textContent("#status-text");
  return seen === wanted || seen;
};

function local(address = "127.0.0.1:0") {
  const args = ["local", "--serve", "--data-dir", join(folder, "data"), "--admin-addr", address];
  const process = new Process(longshore, args);
  running.push(process);
  return process;
}

async function step(name, run) {
  const begun = Date.now();
  await run();
  console.log(`ok  ${name} (${Date.now() - begun} ms)`);
}

async function photograph(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, width, height] of [["desktop", 1280, 900], ["phone", 390, 844]]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert(wide <= 0, `${name} is ${wide} pixels wider than a ${size}`);
      assert.deepEqual(await serious(page), [], `axe-core on ${name}, ${colorScheme}, ${size}`);
      await page.screenshot({ path: join(shots, `${name}-${colorScheme}-${size}.png`), fullPage: true });
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1280, height: 900 });
}

/** Pixels of a rendition, as the browser decoded them. */
const loaded = (page, name) =>
  page.$$eval(`#gallery > li[data-state="done"] img[alt^="${name} of "]`, async (images) => {
    images.forEach((image) => (image.loading = "eager"));
    await Promise.all(images.map((image) => image.decode().catch(() => null)));
    return images.map((image) => `${image.naturalWidth}x${image.naturalHeight}`);
  });

async function main() {
  let server = local();
  const address = (await server.line(/^The page is (http:\S+)/))[1];
  const endpoint = (await server.line(/ are up on (http:\S+)/))[1];
  const page = await open(browser, address);

  const paths = [];
  for (let number = 0; number < 12; number += 1) {
    const size = number % 4 === 3 ? [1200, 1600] : [1600, 1200];
    paths.push(join(folder, `hills-${String(number + 1).padStart(2, "0")}.jpg`));
    await writeFile(paths.at(-1), await jpeg(page, number, size));
  }
  const broken = join(folder, "broken.jpg");
  const whole = await jpeg(page, 12);
  await writeFile(broken, whole.subarray(0, whole.length / 2));

  await step("an empty page is working, and nothing is wrong with it", async () => {
    await until("the worker works", status(page, "working"));
    await until("there is a chart", () => page.$eval(".line-0", (line) => line.getAttribute("d") !== ""));
    assert.equal(await page.isVisible("#empty"), true);
    assert.deepEqual(await serious(page), []);
  });

  await step("twelve pictures that are dropped become twelve pairs", async () => {
    // States pass quickly: kept as they come.
    await page.evaluate(() => {
      window.steps = new Set();
      const look = () => {
        for (const step of document.querySelectorAll(".card [aria-current=step]")) {
          if (step.checkVisibility()) window.steps.add(step.textContent);
        }
      };
      const what = { subtree: true, childList: true, attributes: true, attributeFilter: ["data-state", "aria-current"] };
      new MutationObserver(look).observe(document.getElementById("gallery"), what);
    });
    await drop(page, paths);
    await until("twelve are done", count(cards(page, "done"), 12));
    assert.equal(await page.isVisible("#drop"), false);
    const steps = await page.evaluate(() => [...window.steps]);
    assert(steps.some((step) => ["uploaded", "queued", "in work"].includes(step)), `steps on the way: ${steps}`);
    assert.equal(await page.textContent("#upload-status"), "12 pictures sent");
    const [resized, thumbs] = [await loaded(page, "resized"), await loaded(page, "thumbs")];
    const sizes = (upright, wide) => [...Array(9).fill(wide), ...Array(3).fill(upright)].sort();
    assert.deepEqual(resized.sort(), sizes("576x768", "1024x768"));
    assert.deepEqual(thumbs.sort(), sizes("144x192", "192x144"));
    const text = await card(page, "hills-01.jpg").textContent();
    assert.match(text, /resized1024×768 · [\d.]+ kB.*thumbs192×144 · .*in work.*decode/s);
  });

  await step("a broken one says why, and so do the failures and the dead letters", async () => {
    await page.setInputFiles("#files", broken);
    await until("one has failed", count(cards(page, "failed"), 1));
    const said = await card(page, "broken.jpg").locator(".why").textContent();
    assert.match(said, /^truncated: truncated JPEG/);
    assert.match(await page.textContent("#failures"), /broken\.jpg.*truncated JPEG/s);
    await until("the dead letters are told by reason", async () => {
      const seen = await page.textContent("#letters");
      return (seen.startsWith("truncated1") && seen.includes("s3://longshore-input/broken.jpg")) || seen;
    });
  });

  await step("a retry, by keyboard, that fails again says so again", async () => {
    const before = await card(page, "broken.jpg").locator(".times").textContent();
    await card(page, "broken.jpg").getByRole("button", { name: "Retry broken.jpg" }).focus();
    await page.keyboard.press("Enter");
    assert.match(await page.evaluate(() => document.activeElement.className), /card/);
    await until("it was in work again", async () => {
      const now = await card(page, "broken.jpg").locator(".times").textContent();
      return (now !== before && (await cards(page, "failed").count()) === 1) || now;
    });
  });

  await step("settings that are wrong are told, and change nothing", async () => {
    await page.click("#recipe > summary");
    await page.fill("#renditions", "resized=640x480; bad=10");
    await page.click("#recipe-form button");
    await until("the mistake is told", async () => /rendition 2 .*bad=10/.test(await page.textContent("#recipe-mistakes")));
    assert.match(await page.textContent("#recipe-now"), /^resized=1024x768/);
    assert.equal(await page.getAttribute("#renditions", "aria-invalid"), "true");
    // Told by the server's status as well, which browsers note.
    page.complaints = page.complaints.filter((line) => !line.includes("422"));
  });

  await step("other settings render the gallery again", async () => {
    await page.fill("#renditions", "resized=640x480,q80; thumbs=192x192,q85,444");
    await page.selectOption("#damaged", "accept");
    await page.click("#recipe-form button");
    await until("it says so", async () => /13 pictures queued/.test(await page.textContent("#recipe-done")));
    await until("all are smaller", async () => {
      const seen = await card(page, "hills-01.jpg").locator("figcaption").first().textContent();
      const captions = await page.locator("#gallery figcaption").allTextContents();
      return captions.filter((text) => /^resized(640×480|360×480)/.test(text)).length === 13 || seen;
    });
    await until("all are done, and the broken one with them", count(cards(page, "done"), 13));
    assert.deepEqual([...new Set(await loaded(page, "resized"))].sort(), ["360x480", "640x480"]);
    assert.match(await page.textContent("#settings"), /damagedacceptthis page/);
  });

  await step("what the settings now allow is mended", async () => {
    await until("the failure is marked", async () => /broken\.jpgdone since/.test(await page.textContent("#failures")));
    await until("no letter is left", async () => (await page.textContent("#letters-none")) === "None." && (await page.isVisible("#letters-none")));
  });

  await step("sixteen renditions have room on a phone", async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    const specs = Array.from({ length: 16 }, (_, i) => `rendition-${i + 1}=${20 * (i + 1)}x${20 * (i + 1)}`);
    await page.fill("#renditions", specs.join("; "));
    await page.click("#recipe-form button");
    await until("all are made", count(page.locator("#gallery figure"), 13 * 16));
    await until("all are done", count(cards(page, "done"), 13));
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth <= 0), true);
    const crowded = await page.$$eval("figcaption", (all) => all.filter((c) => c.scrollWidth > c.clientWidth).length);
    assert.equal(crowded, 0, "captions that are wider than their pictures");
    await page.locator("#gallery > li").first().screenshot({ path: join(shots, "sixteen-phone.png") });
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.fill("#renditions", "resized=640x480,q80; thumbs=192x192,q85,444");
    await page.click("#recipe-form button");
    await until("two are made again", count(page.locator("#gallery figure"), 13 * 2));
    await until("all are done again", count(cards(page, "done"), 13));
  });

  await step("what is no picture is skipped, and a picture that comes again is the newest", async () => {
    await page.setInputFiles("#files", { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("notes") });
    await until("it is skipped", count(cards(page, "skipped"), 1));
    assert.match(await card(page, "notes.txt").locator(".why").textContent(), /^not one of \.jpg, .*\.png/);
    await until("it is counted", async () => /1 skipped/.test(await page.textContent("#tally")));
    await page.setInputFiles("#files", paths[0]);
    await until("it is the first", async () => {
      const seen = await page.locator("#gallery > li .key").first().textContent();
      return seen === "hills-01.jpg" || seen;
    });
    await until("thirteen are done", count(cards(page, "done"), 13));
  });

  await step("a page that nobody looks at holds no connection", async () => {
    const look = (hidden) =>
      page.evaluate((hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
      }, hidden);
    await look(true);
    const uptime = () => page.$eval(".line-0", (line) => line.getAttribute("d"));
    const before = await uptime();
    await page.setInputFiles("#files", { name: "unseen.txt", mimeType: "text/plain", buffer: Buffer.from("notes") });
    await until("it is sent", async () => (await page.textContent("#upload-status")) === "1 picture sent");
    assert.equal(await uptime(), before, "nothing is told");
    assert.equal(await page.textContent("#status-text"), "working");
    await look(false);
    await until("it is told all", count(card(page, "unseen.txt"), 1));
    assert.equal(await page.textContent("#status-text"), "working");
  });

  await step("a key is text, whatever it says", async () => {
    const names = ["<script>.jpg", "<img src=x onerror=alert(1)>.jpg"];
    const scripts = await page.$$eval("script", (all) => all.length);
    for (const name of names) {
      await writeFile(join(folder, name), whole.subarray(0, 5000));
      await page.setInputFiles("#files", join(folder, name));
    }
    await page.fill("#renditions", "resized=1024x768,q85; thumbs=192x192,q85,444");
    for (const name of names) await until(`${name} is shown`, count(card(page, name), 1));
    await until("nothing moves", count(page.locator('#gallery > li:is([data-state="queued"], [data-state="working"])'), 0));
    assert.equal(await page.$$eval("script", (all) => all.length), scripts);
    assert.equal(await page.locator("img[src='x']").count(), 0);
  });

  await step("it can be worked by keyboard", async () => {
    await page.evaluate(() => document.activeElement.blur());
    await page.locator(".skip").focus();
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "failures-heading");
    await page.focus("#choose");
    await page.keyboard.press("Enter");
    await until("files may be chosen", () => page.choosers.length === 1 && page.choosers[0].isMultiple());
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.matches(":focus-visible")), true);
  });

  await step("light and dark, wide and narrow: axe-core finds nothing serious", async () => {
    await page.setInputFiles("#files", { name: "cut short.jpg", mimeType: "image/jpeg", buffer: whole.subarray(0, 400) });
    await until("a failure is there to be seen", async () => (await cards(page, "failed").count()) > 0);
    await until("its letter too", async () => (await page.locator("#letters > li").count()) > 0);
    assert.match(await page.textContent("#to-failures"), /^\d+ failures?$/);
    assert.match(await page.textContent("#to-letters"), /^\d+ dead letters?$/);
    await photograph(page, "local");
  });
  assert.deepEqual(page.complaints, []);

  await step("a closed worker shows as such and comes back by itself", async () => {
    await page.evaluate(() => (window.stays = true));
    const points = () => page.$eval(".line-0", (line) => line.getAttribute("d").split(/[ML]/).length - 1);
    const told = await points();
    await server.stop();
    await until("it is closed", status(page, "closed"));
    assert.match(await page.textContent("#banner"), /closed, or cannot be reached, since \d\d:\d\d:\d\d/);
    for (const button of ["#choose", "#recipe-form button"]) assert.equal(await page.isDisabled(button), true, button);
    assert.deepEqual(await serious(page), []);
    await page.screenshot({ path: join(shots, "closed.png") });
    server = local(new URL(address).host);
    await server.line(/^The page is /);
    await until("it works again", status(page, "working"));
    assert.equal(await page.evaluate(() => window.stays), true, "no reload was needed");
    assert.equal(await page.isVisible("#banner"), false);
    assert.equal(await page.isDisabled("#choose"), false);
    assert.equal(await page.isVisible("#recipe-done"), false, "the settings are those of the command line again");
    // All but what has become too old meanwhile.
    assert((await points()) > told / 2, `what the first process told is still drawn: ${await points()} of ${told}`);
    await page.setInputFiles("#files", paths[0]);
    await until("pictures move again", async () => (await cards(page, "done").count()) > 0);
    // One that stands still closes nothing.
    server.child.kill("SIGSTOP");
    await until("it is taken for closed", status(page, "closed"));
    assert.match(await page.textContent("#banner"), /does not answer, since \d\d:\d\d:\d\d/);
    server.child.kill("SIGCONT");
    await until("it works once more", status(page, "working"));
    // Browsers note connections that were refused meanwhile, and nothing else may be wrong.
    const others = page.complaints.filter((line) => !/ERR_(CONNECTION|INCOMPLETE|EMPTY)/.test(line));
    assert.deepEqual(others, []);
  });
  await page.context().close();
  await server.stop();
  return endpoint;
}

async function work() {
  const server = local();
  const upstream = (await server.line(/^The page is (http:\S+)/))[1];
  const endpoint = (await server.line(/ are up on (http:\S+)/))[1];
  const queue = (await server.line(/^ {2}queue +(\S+)/))[1];
  const keys = (await server.line(/AWS_ACCESS_KEY_ID=(\S+) AWS_SECRET_ACCESS_KEY=(\S+)/)).slice(1);
  const environment = {
    AWS_ENDPOINT_URL: endpoint,
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: keys[0],
    AWS_SECRET_ACCESS_KEY: keys[1],
    LONGSHORE_QUEUE_URL: queue,
    LONGSHORE_OUTPUT_BUCKET: "longshore-output",
    LONGSHORE_ADMIN_TOKEN: TOKEN,
  };
  const worker = new Process(longshore, ["work", "--admin-addr", "127.0.0.1:0", "--log-format", "json"], environment);
  running.push(worker);
  const address = (await worker.line(/"admin":"(http:[^"]+)"/))[1];

  const page = await open(browser, address);
  const picture = await jpeg(page, 1);
  page.complaints = page.complaints.filter((line) => !line.includes("401"));
  await step("a token is asked for, and a wrong one is none", async () => {
    assert.equal(await page.isVisible("#status"), false);
    assert.deepEqual(await serious(page), []);
    await page.screenshot({ path: join(shots, "login.png") });
    await page.fill("input[name=token]", "not-the-token-at-all");
    await page.click("button");
    await page.waitForURL(/login/);
    assert.equal(await page.getByRole("alert").textContent(), "That is not the token of this worker.");
    assert.deepEqual(await serious(page), []);
    await page.screenshot({ path: join(shots, "login-wrong.png") });
    await page.goto(new URL("/login", address).href);
    assert.equal(new URL(page.url()).pathname, "/");
    assert.equal(await page.isVisible("input[name=token]"), true);
    await page.fill("input[name=token]", TOKEN);
    await page.click("button");
    await until("it lets in", status(page, "working"));
    assert.equal(new URL(page.url()).pathname + new URL(page.url()).search, "/");
    page.complaints = page.complaints.filter((line) => !line.includes("401"));
  });

  await step("work is read-only, and shows no picture and no secret", async () => {
    assert.equal(await page.isVisible("#studio"), false);
    assert.match(await page.textContent("#mode"), /read-only/);
    const upload = await page.evaluate(async () => {
      const headers = { "x-longshore": "page", "x-longshore-name": "a.jpg" };
      return (await fetch("/pictures", { method: "POST", headers, body: "x" })).status;
    });
    assert.equal(upload, 404);
    await page.click("#settings-details > summary");
    const settings = await page.textContent("#settings");
    assert.match(settings, /admin-token\(secret\)LONGSHORE_ADMIN_TOKEN/);
    assert.equal((await page.content()).includes(TOKEN), false);
    page.complaints = page.complaints.filter((line) => !line.includes("404"));
    await until("the backlog is asked for", async () => (await page.textContent(".value")) === "0");
    await photograph(page, "work");
    assert.deepEqual(page.complaints, []);
  });

  await step("a poison picture is told in work as the game day says", async () => {
    const put = async (number) => {
      const headers = { "x-longshore": "page", "x-longshore-name": `cut-${number}.jpg` };
      const body = Buffer.from("/9j/4AAQSkZJRgABAQAAAQABAAD/", "base64");
      assert.equal((await fetch(new URL("/pictures", upstream), { method: "POST", headers, body })).status, 200);
    };
    // Two workers share the queue: until one has come to this one.
    let number = 0;
    await until("one has come here", async () => {
      if (await page.locator("#failures > li").count()) return true;
      await put((number += 1));
      return `${number} were sent`;
    });
    await until("its letter is told", async () => (await page.locator("#letters > li").count()) > 0);
    assert.match(await page.innerText("#failures"), /cut-\d+\.jpg\s+\w[\w-]*\s+\w+/);
    assert.match(await page.innerText("#letters"), /^\w[\w-]*\s+\d+/);
    await photograph(page, "work-poison");
  });
  await page.context().close();
  await worker.stop();

  const blocked = new Process(longshore, ["work", "--admin-addr", "127.0.0.1:0", "--log-format", "json"], {
    ...environment,
    LONGSHORE_OUTPUT_BUCKET: "longshore-nowhere",
  });
  running.push(blocked);
  const trouble = await open(browser, `${(await blocked.line(/"admin":"(http:[^"]+)"/))[1].replace(/\/$/, "")}/?token=${TOKEN}`);
  await step("an output bucket that is missing is told as the game day says", async () => {
    let number = 0;
    await until("one is blocked here", async () => {
      if (await trouble.locator('#failures > li[data-outcome="blocked"]').count()) return true;
      const headers = { "x-longshore": "page", "x-longshore-name": `fine-${(number += 1)}.jpg` };
      assert.equal((await fetch(new URL("/pictures", upstream), { method: "POST", headers, body: picture })).status, 200);
      return `${number} were sent`;
    });
    await until("it says so", status(trouble, "not ready"));
    assert.match(await trouble.innerText("#banner"), /^cannot store s3:\/\/longshore-nowhere\/resized\/fine-\d+\.jpg: NoSuchBucket/);
    assert.match(await trouble.innerText("#failures"), /fine-\d+\.jpg\s+blocked\s+cannot store s3:\/\/longshore-nowhere\/resized\/fine-/);
    await photograph(trouble, "work-blocked");
    assert.deepEqual(trouble.complaints, []);
  });
  await trouble.context().close();
  await blocked.stop();
  await server.stop();
}

try {
  await main();
  await work();
  console.log(`screenshots are in ${shots}`);
} finally {
  running.forEach((process) => process.child.kill("SIGKILL"));
  await browser.close();
  await rm(folder, { recursive: true, force: true });
}
