// What is made of pictures, to be changed.

import { byId, change, element, say, show } from "./dom.js";
import { plural } from "./format.js";

const FIELDS = ["renditions", "icc", "damaged"];
let now = {};
let applied = null;

const stands = (recipe) => FIELDS.every((name) => byId(name).value === (recipe[name] ?? byId(name).value));

/** What the worker does now, in its words; a form that somebody is changing is left alone. */
export function update(recipe) {
  const untouched = stands(now) || (applied && stands(applied));
  now = recipe;
  say(byId("recipe-now"), recipe.renditions);
  if (untouched) FIELDS.forEach((name) => (byId(name).value = recipe[name]));
}

export function start() {
  byId("recipe-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const wanted = Object.fromEntries(FIELDS.map((name) => [name, byId(name).value]));
    try {
      const { queued } = await change("/renditions", { body: JSON.stringify(wanted), headers: { "content-type": "application/json" } });
      applied = wanted;
      update(now);
      tell([], queued ? `Applied; ${plural(queued, "picture")} queued once more.` : "Applied, for pictures from now on.");
    } catch (error) {
      tell(error.mistakes ?? [error.message], "");
    }
  });
}

/** Another process, with the settings of its command line: what was said of the last one is over. */
export const forget = () => tell([], "");

function tell(mistakes, done) {
  byId("recipe-mistakes").replaceChildren(...mistakes.map((line) => element("li", {}, line)));
  show(byId("recipe-mistakes"), mistakes.length > 0);
  byId("renditions").setAttribute("aria-invalid", mistakes.length > 0);
  say(byId("recipe-done"), done);
  show(byId("recipe-done"), done !== "");
}
