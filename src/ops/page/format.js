// Figures as people read them.

export function bytes(n) {
  if (n < 10_000) return `${n} B`;
  if (n < 1_000_000) return `${(n / 1e3).toFixed(1)} kB`;
  return `${(n / 1e6).toFixed(1)} MB`;
}

/** Milliseconds, in the unit that suits them: number and unit. */
export function time(ms) {
  if (ms == null) return ["–", ""];
  if (ms < 10) return [ms.toFixed(1), "ms"];
  if (ms < 1000) return [ms.toFixed(0), "ms"];
  if (ms < 100_000) return [(ms / 1e3).toFixed(1), "s"];
  return [(ms / 60e3).toFixed(0), "min"];
}

export const timeText = (ms) => time(ms).join(" ").trim();

export function count(n) {
  if (n == null) return "–";
  if (n < 10_000) return String(n);
  return n < 1e6 ? `${(n / 1e3).toFixed(1)}k` : `${(n / 1e6).toFixed(1)}M`;
}

export const rate = (n) => (n == null ? "–" : n < 10 ? n.toFixed(1) : n.toFixed(0));

/** Seconds as an age: the two largest units. */
export function age(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

const two = (n) => String(n).padStart(2, "0");
export function clock(ms) {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
