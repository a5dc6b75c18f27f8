// The page of a running servo daemon: asks it every two seconds, and shows what it answers.

import { Missing, Refused, TokenWanted, Unreachable, get, token } from "./page/api.js";
import { byId, element, reconcile, setAttribute, setHidden, setText } from "./page/dom.js";
import { age, bytes, count, duration, orderedStates, secondsSince, tone, words } from "./page/format.js";
import { Panel } from "./page/panel.js";
import { Table } from "./page/table.js";
import { fromAddress, listPath, pageCount, range, servoPath, toAddress, treePath } from "./page/view.js";

const EVERY_MS = 2000;
// A tree tells of much more than a list does.
const TREE_EVERY_MS = 6000;
const TYPING_MS = 150;

let view = fromAddress();
let answered = null; // when the daemon last answered with servos
let matched = 0;
let asking = null; // what stops the questions under way
let timer = 0;
let treeAskedAt = 0;
let waitsForToken = false;
const heads = document.querySelectorAll("#servos thead [data-sort]");

const table = new Table(byId("rows"), (name) => toAddress({ ...view, servo: name }), (name) => select(name === view.servo ? null : name));
const panel = new Panel({
  onClose: () => select(null),
  onTree: (open) => open !== view.tree && go({ tree: open }, "replace"),
});

// --- what is looked at ------------------------------------------------------------------------

function go(change, how = "push") {
  view = { ...view, ...change };
  const address = toAddress(view);
  if (address !== (location.hash || "#")) history[how === "push" ? "pushState" : "replaceState"](null, "", address);
  looked();
}

function looked() {
  if (byId("search").value !== view.q && document.activeElement !== byId("search")) byId("search").value = view.q;
  panel.await(view.servo, view.tree);
  document.body.classList.toggle("with-panel", view.servo !== null);
  treeAskedAt = 0;
  for (const chip of byId("chips").children) setAttribute(chip, "aria-pressed", String(chip.dataset.state === view.state));
  showOrder();
  refresh();
}

function select(name) {
  const before = view.servo;
  go({ servo: name });
  if (name !== null) panel.focus();
  else table.focus(before);
}

addEventListener("popstate", () => {
  view = fromAddress();
  byId("search").value = view.q;
  looked();
});

// --- asking -----------------------------------------------------------------------------------

async function refresh() {
  clearTimeout(timer);
  asking?.abort();
  if (document.hidden || waitsForToken) return showLive();
  const mine = new AbortController();
  asking = mine;
  const { signal } = mine;
  const list = get(listPath(view), signal);
  const wanted = [get("api/v1/status", signal).then(showStatus), list.then(showServos)];
  if (view.servo !== null) wanted.push(get(servoPath(view.servo), signal).then((servo) => panel.show(servo), notThere));
  if (view.servo !== null && view.tree && Date.now() - treeAskedAt >= TREE_EVERY_MS) {
    treeAskedAt = Date.now();
    wanted.push(get(treePath(view.servo), signal).then((node) => panel.showTree(node, null), notThere));
  }
  const outcomes = await Promise.allSettled(wanted.map((asked) => guarded(asked, signal)));
  if (signal.aborted) return;
  const failure = outcomes.find((outcome) => outcome.status === "rejected")?.reason;
  showFailure(failure);
  showLive(failure);
  timer = setTimeout(refresh, EVERY_MS);
}

/** An answer to a question that nobody asks any more is not shown. */
async function guarded(asked, signal) {
  try {
    return await asked;
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  }
}

function notThere(error) {
  if (!(error instanceof Missing)) throw error;
  panel.note("There is no servo of this name (any more).");
}

document.addEventListener("visibilitychange", () => (document.hidden ? (asking?.abort(), clearTimeout(timer), showLive()) : refresh()));
addEventListener("online", () => refresh());

// --- showing ----------------------------------------------------------------------------------

function showStatus(status) {
  const ready = byId("ready");
  setAttribute(ready, "data-tone", status.ready ? "good" : "warn");
  setText(byId("ready-text"), status.ready ? "ready" : "not ready");
  setText(byId("version"), status.version);
  setAttribute(byId("version"), "title", status.revision ? `revision ${status.revision}` : null);
  setText(byId("uptime"), age(status.uptime_seconds));
  setAttribute(byId("uptime"), "title", status.started_at ? `since ${status.started_at}` : null);
  setText(byId("total"), count(status.servos?.total));
  setText(byId("memory"), bytes(status.memory_bytes));
  setText(byId("cpu"), duration(status.cpu_seconds));
  const { succeeded = 0, refused = 0, last } = status.reloads ?? {};
  setText(byId("reloads"), refused > 0 ? `${count(succeeded)} done, ${count(refused)} refused` : count(succeeded));
  const told = byId("reload-last");
  setText(told, last ? `${age(secondsSince(last.at))} ago: ${last.text}` : "");
  setAttribute(told, "title", last?.text);
  setAttribute(told, "data-tone", last && !last.ok ? "bad" : null);
}

function showServos(answer) {
  answered = Date.now();
  matched = answer.matched;
  const pages = pageCount(matched);
  if (view.page > pages) return go({ page: pages }, "replace");
  showChips(answer);
  table.update(answer.servos, view.servo);
  setHidden(byId("empty"), answer.servos.length > 0);
  setHidden(byId("servos"), answer.servos.length === 0);
  setText(byId("empty-text"), answer.total === 0 ? "No servos are running." : "No servo matches.");
  setHidden(byId("clear"), answer.total === 0);
  setText(byId("range"), range(answer.offset, answer.servos.length, matched));
  setText(byId("page-number"), `${count(view.page)} / ${count(pages)}`);
  byId("previous").disabled = view.page <= 1;
  byId("next").disabled = view.page >= pages;
}

/** The column that the rows are sorted by, and whether upwards. Of numbers and times the most, and the latest, come first. */
function showOrder() {
  for (const head of heads) {
    const { sort } = head.dataset;
    const up = ["name", "state"].includes(sort) !== view.reverse;
    setAttribute(head.parentElement, "aria-sort", sort === view.sort ? (up ? "ascending" : "descending") : null);
  }
}

function showChips({ total, states }) {
  const chips = [{ state: "", label: "all", count: total }];
  for (const state of orderedStates(states, view.state)) chips.push({ state, label: words(state), count: states[state] ?? 0 });
  reconcile(byId("chips"), chips, (chip) => chip.state, ({ state, label }) => {
    const number = element("span", "number");
    const root = element("button", "chip", element("span", "dot"), label, " ", number);
    root.type = "button";
    root.dataset.state = state;
    if (state) root.dataset.tone = tone(state);
    root.addEventListener("click", () => go({ state: view.state === state ? "" : state, page: 1 }));
    return { root, update: (chip) => setText(number, count(chip.count)) };
  });
  for (const chip of byId("chips").children) setAttribute(chip, "aria-pressed", String(chip.dataset.state === view.state));
}

function showFailure(failure) {
  const banner = byId("banner");
  const wanted = failure instanceof TokenWanted;
  if (wanted && !waitsForToken) {
    waitsForToken = true;
    const had = token.get() !== "";
    token.forget();
    setHidden(byId("token-form"), false);
    setText(banner, had ? "The daemon does not accept this token." : "");
    setHidden(banner, !had);
    setAttribute(byId("ready"), "data-tone", "warn");
    setText(byId("ready-text"), "no access");
    byId("token").focus();
    return;
  }
  const text = failure ? told(failure) : "";
  setHidden(banner, !text);
  setText(banner, text);
  document.body.classList.toggle("stale", Boolean(failure));
  if (failure instanceof Unreachable) {
    setAttribute(byId("ready"), "data-tone", "bad");
    setText(byId("ready-text"), "unreachable");
  }
}

function told(failure) {
  const stale = answered === null ? "" : ` What you see is from ${new Date(answered).toLocaleTimeString(undefined, { hour12: false })}.`;
  if (failure instanceof Unreachable) return `The daemon at ${location.origin} does not answer: ${failure.message}. Is servo run still there? This page goes on asking.${stale}`;
  if (failure instanceof Refused || failure instanceof Missing) return `The daemon answers, but not with what was asked for: ${failure.message}.${stale}`;
  return `This page does not understand the daemon: ${failure.message}.${stale}`;
}

function showLive(failure) {
  const [tone, text] = waitsForToken
    ? ["warn", "waits for a token"]
    : document.hidden
      ? ["quiet", "paused"]
      : failure
        ? ["bad", "not live"]
        : ["good", "live"];
  setAttribute(byId("live"), "data-tone", tone);
  setText(byId("live-text"), text);
}

// --- the operator -----------------------------------------------------------------------------

let typing = 0;
byId("search").value = view.q;
byId("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => go({ q: byId("search").value.trim(), page: 1 }, "replace"), TYPING_MS);
});
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "Enter") {
    event.preventDefault();
    table.focus();
  }
});
for (const head of heads) {
  head.addEventListener("click", () => {
    const { sort } = head.dataset;
    byId("scroll").scrollTop = 0;
    go({ sort, reverse: sort === view.sort && !view.reverse, page: 1 });
  });
}
function turn(by) {
  byId("scroll").scrollTop = 0;
  go({ page: view.page + by });
}
byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));
byId("clear").addEventListener("click", () => {
  byId("search").value = "";
  go({ q: "", state: "", page: 1 });
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  table.focus(view.servo);
});
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("token").value.trim();
  // What cannot stand in a header is no token.
  if (!/^[\x21-\x7e]+$/.test(text)) {
    setHidden(byId("banner"), false);
    return setText(byId("banner"), "A token is made of visible ASCII characters, without blanks.");
  }
  byId("token").value = "";
  token.set(text);
  waitsForToken = false;
  setHidden(byId("token-form"), true);
  setHidden(byId("banner"), true);
  refresh();
});
document.addEventListener("keydown", (event) => {
  const typed = event.target.closest("input, textarea");
  if (event.key === "Escape" && view.servo !== null) return select(null);
  if (event.key === "Escape" && typed === byId("search")) return table.focus();
  if (event.key === "/" && !typed && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    byId("search").focus();
    byId("search").select();
  }
});

looked();
