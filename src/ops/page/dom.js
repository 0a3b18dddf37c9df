// Small helpers. Text from strangers goes through textContent only; there is no other way in here.

export const byId = (id) => document.getElementById(id);

/** An element with properties and children; strings become text. */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** An element of a drawing. */
export function drawn(tag, attributes = {}) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** Sets text only if it differs, so that nothing flickers and nothing is read out twice. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/**
 * Makes the children of `parent` those of `items`, in order: kept by key, made or patched as needed.
 * `patch` gets the element and the item.
 */
export function reconcile(parent, items, keyOf, make, patch) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = known.get(key);
    known.delete(key);
    if (!child) {
      child = make(item);
      child.dataset.key = key;
    }
    patch(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of known.values()) child.remove();
}

let closed = false;

/** Buttons of class `acts` do something with the worker: none while it is closed, and none twice at once. */
export function close(now) {
  closed = now;
  document.querySelectorAll("button.acts").forEach(enable);
}

export function pend(button, pending) {
  button.pending = pending;
  enable(button);
}

function enable(button) {
  button.disabled = closed || Boolean(button.pending);
}

/** A request that changes something; the header says that it comes from this page. */
export async function change(path, options = {}) {
  const headers = { "x-longshore": "page", ...options.headers };
  const answer = await fetch(path, { method: "POST", ...options, headers }).catch(() => {
    // What browsers say of it differs, and helps nobody.
    throw new Error("the worker is closed, or cannot be reached");
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(body.error ?? `HTTP ${answer.status}`), { mistakes: body.mistakes });
  return body;
}
