// Numbers, times and states as people read them.

const NUMBER = new Intl.NumberFormat("en");

/** 10000 as 10,000; a dash for what is not known. */
export function count(value) {
  return Number.isFinite(value) ? NUMBER.format(value) : "–";
}

/** Seconds as two units at most: 840 ms, 4.2 s, 38 s, 3 m 12 s, 2 h 5 m, 3 d 4 h. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const s = Math.max(0, seconds);
  if (s < 0.9995) return `${Math.round(s * 1000)} ms`;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 60) return `${whole} s`;
  const pair = (big, bigName, small, smallName) => (small ? `${big} ${bigName} ${small} ${smallName}` : `${big} ${bigName}`);
  if (whole < 3600) return pair(Math.floor(whole / 60), "m", whole % 60, "s");
  if (whole < 86400) return pair(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "m");
  return pair(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
}

/** As `duration`, in whole seconds: for what changes while one looks at it. */
export function age(seconds) {
  return Number.isFinite(seconds) && seconds < 10 ? `${Math.floor(Math.max(0, seconds))} s` : duration(seconds);
}

/** As `age`, in one unit: 12 s, 8 m, 3 h, 4 d. */
export function roughly(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const [name, size] = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]].find(([, size]) => seconds >= size) ?? ["s", 1];
  return `${Math.floor(Math.max(0, seconds) / size)} ${name}`;
}

/** Bytes in binary units. */
export function bytes(value) {
  if (!Number.isFinite(value)) return "–";
  let size = value;
  for (const unit of ["B", "KiB", "MiB"]) {
    if (size < 1024) return `${size < 10 && unit !== "B" ? size.toFixed(1) : Math.round(size)} ${unit}`;
    size /= 1024;
  }
  return `${size.toFixed(size < 10 ? 2 : 1)} GiB`;
}

/** The time of day of an RFC 3339 time, with the day when it is not today. */
export function clock(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return String(text ?? "");
  const time = at.toLocaleTimeString(undefined, { hour12: false });
  return at.toDateString() === new Date().toDateString()
    ? time
    : `${at.toLocaleDateString(undefined, { month: "short", day: "numeric" })} ${time}`;
}

/** Seconds since an RFC 3339 time. */
export function secondsSince(text) {
  return (Date.now() - new Date(text).getTime()) / 1000;
}

/** States in the order in which an operator wants to see them, each with its tone. */
const STATES = new Map([
  ["parked", "bad"],
  ["backing_off", "warn"],
  ["waiting", "warn"],
  ["deprovisioned", "warn"],
  ["executing", "busy"],
  ["reporting", "busy"],
  ["polling", "good"],
  ["idle", "good"],
  ["sleeping", "quiet"],
  ["starting", "quiet"],
  ["attaching", "quiet"],
  ["connecting", "quiet"],
  ["shutting_down", "quiet"],
  ["ended", "quiet"],
]);

/** The states of which there are any, in that order; those that this page does not know come last. */
export function orderedStates(counts, alsoShown) {
  const there = Object.keys(counts).filter((state) => counts[state] > 0);
  if (alsoShown && !there.includes(alsoShown)) there.push(alsoShown);
  const order = [...STATES.keys()];
  const place = (state) => (order.includes(state) ? order.indexOf(state) : order.length);
  return there.sort((a, b) => place(a) - place(b) || a.localeCompare(b));
}

/** The tone of a servo's state, or of a supervised actor's: `running`, `parked (retry in 3s)`. */
export function tone(state) {
  const text = String(state ?? "").toLowerCase().replaceAll(" ", "_");
  if (text === "running") return "good";
  for (const [word, tone] of STATES) if (text.startsWith(word)) return tone;
  return "quiet";
}

/** `backing_off` as backing off. */
export function words(state) {
  return String(state ?? "").replaceAll("_", " ");
}

/** What a servo's state says beyond its name, if it says more. */
export function detailOf(servo) {
  const state = words(servo.state);
  const detail = String(servo.detail ?? "").trim();
  const rest = detail.toLowerCase().startsWith(state) ? detail.slice(state.length).trim() : detail;
  return rest;
}
