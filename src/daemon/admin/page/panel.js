// One servo in full.

import { byId, element, reconcile, setAttribute, setHidden, setProgress, setText } from "./dom.js";
import { age, clock, count, detailOf, duration, tone, words } from "./format.js";
import { isOk } from "./table.js";

export class Panel {
  constructor({ onClose, onTree }) {
    this.root = byId("panel");
    this.body = byId("panel-body");
    this.name = null;
    this.open = new Set();
    byId("panel-close").addEventListener("click", onClose);
    this.tree = byId("panel-tree");
    this.tree.addEventListener("toggle", () => onTree(this.tree.open));
  }

  /** Shows that `name` is being asked for; what is known of another servo goes away. */
  await(name, treeOpen) {
    setHidden(this.root, name === null);
    if (this.tree.open !== treeOpen) this.tree.open = treeOpen;
    if (name === this.name) return;
    this.name = name;
    setText(byId("panel-name"), name ?? "");
    byId("panel-name").title = name ?? "";
    this.body.scrollTop = 0;
    this.showTree(null, "reading …");
    this.showServo({ name, state: "", connectors: [], recent_errors: [] });
    this.note("reading …");
  }

  focus() {
    byId("panel-name").focus();
  }

  /** Says what is to be known about what stands below. */
  note(text) {
    setHidden(byId("panel-notice"), !text);
    setText(byId("panel-notice"), text);
  }

  show(servo) {
    this.note("");
    this.showServo(servo);
  }

  showServo(servo) {
    const state = byId("panel-state");
    setAttribute(state, "data-tone", tone(servo.state));
    setText(state.querySelector(".word"), words(servo.state));
    setText(state.querySelector(".more"), servo.state ? [`for ${age(servo.since_seconds)}`, detailOf(servo)].filter(Boolean).join(" · ") : "");
    this.showCommand(servo.command);
    reconcile(byId("panel-facts"), facts(servo), ([label]) => label, fact);
    setHidden(byId("panel-error"), !servo.error);
    setText(byId("panel-error").querySelector(".failure"), servo.error ?? "");
    this.showList(byId("panel-connectors").tBodies[0], byId("panel-connectors"), servo.connectors ?? [], (c) => c.name, connector);
    // The newest first.
    const errors = (servo.recent_errors ?? []).map((error, index) => ({ ...error, index })).sort((a, b) => String(b.at).localeCompare(String(a.at)) || b.index - a.index);
    this.showList(byId("panel-errors"), byId("panel-errors"), errors, (e) => `${e.at} ${e.index} ${e.text}`, logged);
  }

  showList(parent, whole, items, keyOf, make) {
    reconcile(parent, items, keyOf, make);
    setHidden(whole, items.length === 0);
    setHidden(whole.nextElementSibling, items.length > 0);
  }

  showCommand(command) {
    const section = byId("panel-command");
    setHidden(section, !command);
    if (!command) return;
    setText(section.querySelector(".operation"), command.operation);
    const percent = Number.isFinite(command.percent) ? `${Math.floor(command.percent)}%` : null;
    setText(section.querySelector(".runtime"), [percent, `for ${age(command.runtime_seconds)}`].filter(Boolean).join(" · "));
    setProgress(section.querySelector(".bar"), command.percent);
    setText(section.querySelector(".message"), command.message ?? "");
    setText(section.querySelector(".uid"), command.uid ? `uid ${command.uid}` : "");
  }

  showTree(node, note) {
    setText(byId("panel-tree-note"), note ?? "");
    setHidden(byId("panel-tree-note"), !note);
    reconcile(byId("panel-tree-root"), node ? [node] : [], (n) => n.name, branch);
  }
}

function facts(servo) {
  if (!servo.state) return [];
  const last = servo.last;
  const url = servo.optimizer?.url;
  const outage = servo.optimizer?.outage_seconds;
  return [
    ["Optimizer", url || "none", null],
    ["Optimizer outage", Number.isFinite(outage) ? `no usable answer for ${duration(outage)}` : "none", Number.isFinite(outage) ? "bad" : null],
    ["Commands", `${count(servo.finished)} finished, ${count(servo.not_ok)} not ok`, servo.not_ok > 0 ? "warn" : null],
    ["Restarts", count(servo.restarts), servo.restarts > 0 ? "warn" : null],
    ["Last result", last ? `${last.operation} ${last.status} in ${duration(last.took_seconds)}, ${age(last.ended_seconds_ago)} ago` : "none yet", last && !isOk(last) ? "bad" : null],
    ...(last?.message ? [["Its message", last.message, null]] : []),
  ];
}

function fact([label]) {
  const value = element("dd");
  return {
    root: element("div", null, element("dt", null, label), value),
    update([, text, tone]) {
      setText(value, text);
      setAttribute(value, "data-tone", tone);
    },
  };
}

function connector({ name }) {
  const type = element("span", "muted");
  const state = element("span", "word");
  const doing = element("span", "muted more");
  const exit = element("div", "failure");
  const stateCell = element("td", "c-state", element("span", "dot"), state, " ", doing, exit);
  const restarts = element("td", "c-number");
  const header = element("th", null, name, " ", type);
  header.scope = "row";
  return {
    root: element("tr", null, header, stateCell, restarts),
    update(it) {
      setText(type, it.type && it.type !== name ? it.type : "");
      setAttribute(stateCell, "data-tone", tone(it.state));
      setText(state, words(it.state));
      setText(doing, it.doing ?? "");
      setText(restarts, count(it.restarts));
      setAttribute(restarts, "data-tone", it.restarts > 0 ? "warn" : "none");
      setText(exit, it.last_exit ? `last exit: ${it.last_exit}` : "");
      setHidden(exit, !it.last_exit);
    },
  };
}

function logged(error) {
  const level = String(error.level ?? "").toUpperCase();
  const time = element("time", "muted", clock(error.at));
  time.title = String(error.at ?? "");
  const root = element("li", null, time, " ", element("b", "level", level), " ", element("span", "text", error.text ?? ""));
  root.dataset.tone = level === "WARNING" || level === "WARN" ? "warn" : "bad";
  return { root, update() {} };
}

function branch({ name }) {
  const state = element("span", "word");
  const more = element("span", "muted more");
  const exit = element("div", "failure");
  const line = element("div", "node", element("span", "dot"), element("b", null, name), " ", state, " ", more, exit);
  const below = element("ul");
  return {
    root: element("li", null, line, below),
    update(node) {
      setAttribute(line, "data-tone", tone(node.state));
      setText(state, words(node.state));
      const restarts = node.restarts > 0 ? `${count(node.restarts)} ${node.restarts === 1 ? "restart" : "restarts"}` : null;
      setText(more, [`for ${age(node.age_seconds)}`, restarts, node.doing].filter(Boolean).join(" · "));
      setText(exit, node.last_exit ? `last exit: ${node.last_exit}` : "");
      setHidden(exit, !node.last_exit);
      const children = node.children ?? [];
      setHidden(below, children.length === 0);
      reconcile(below, children, (child) => child.name, branch);
    },
  };
}
