// The rows of the servos: one row for each, kept while it is on the page.

import { element, reconcile, setAttribute, setHidden, setProgress, setText } from "./dom.js";
import { age, count, detailOf, duration, roughly, tone, words } from "./format.js";

const HEALTHY = new Set(["ok", "completed", "success"]);

export class Table {
  /** `hrefOf` makes the address that shows a servo; `onSelect` is told of a click on its row. */
  constructor(body, hrefOf, onSelect) {
    this.body = body;
    this.hrefOf = hrefOf;
    this.onSelect = onSelect;
    this.views = new Map();
    this.active = null;
    body.addEventListener("click", (event) => this.clicked(event));
    body.addEventListener("keydown", (event) => this.pressed(event));
    body.addEventListener("focusin", (event) => this.focused(event));
  }

  update(servos, selected) {
    this.views = reconcile(this.body, servos, (servo) => servo.name, (servo) => row(servo.name));
    if (!this.views.has(this.active)) this.active = null;
    const reachable = this.active ?? (this.views.has(selected) ? selected : servos[0]?.name);
    for (const [name, view] of this.views) {
      setAttribute(view.link, "href", this.hrefOf(name));
      setAttribute(view.link, "aria-current", name === selected ? "true" : null);
      setAttribute(view.root, "class", name === selected ? "selected" : null);
      setAttribute(view.link, "tabindex", name === reachable ? 0 : -1);
    }
  }

  /** Puts the keyboard on the row of `name`, or on the first. */
  focus(name) {
    const view = this.views.get(name) ?? this.views.values().next().value;
    view?.link.focus();
  }

  clicked(event) {
    const row = event.target.closest("tr");
    const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0;
    // Whoever marks text does not mean to open anything.
    if (!row || !plain || !getSelection().isCollapsed) return;
    event.preventDefault();
    this.onSelect(row.dataset.name);
  }

  pressed(event) {
    const row = event.target.closest("tr");
    const to = {
      ArrowDown: () => row.nextElementSibling,
      ArrowUp: () => row.previousElementSibling,
      Home: () => this.body.firstElementChild,
      End: () => this.body.lastElementChild,
    }[event.key];
    if (!row || !to || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = to();
    if (next) this.focus(next.dataset.name);
  }

  focused(event) {
    const row = event.target.closest("tr");
    if (!row || row.dataset.name === this.active) return;
    for (const name of [this.active, row.dataset.name]) {
      const view = this.views.get(name);
      if (view) setAttribute(view.link, "tabindex", name === row.dataset.name ? 0 : -1);
    }
    this.active = row.dataset.name;
  }
}

function row(name) {
  const link = element("a", null, name);
  link.title = name;
  const state = element("span", "word");
  const detail = element("span", "muted more");
  const stateCell = element("td", "c-state", element("span", "dot"), state, " ", detail);
  const operation = element("b", "operation");
  const bar = element("span", "bar", element("span"));
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", "Progress");
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "100");
  const percent = element("span", "percent");
  const message = element("span", "muted more");
  const work = element("div", "work-line", operation, bar, percent, message);
  const finished = element("td", "c-number");
  const notOk = element("td", "c-number");
  const restarts = element("td", "c-number");
  const lastText = element("span", "word");
  const lastAgo = element("span", "muted");
  const last = element("td", "c-last", lastText, " ", lastAgo);
  const error = element("td", "c-error");
  const header = element("th", "c-name", link);
  header.scope = "row";
  const root = element("tr", null, header, stateCell, element("td", "c-operation", work), finished, notOk, restarts, last, error);
  root.dataset.name = name;

  const update = (servo) => {
    setAttribute(stateCell, "data-tone", tone(servo.state));
    setText(state, words(servo.state));
    const since = roughly(servo.since_seconds);
    const said = detailOf(servo);
    setText(detail, said && !servo.command ? `${since} · ${said}` : since);
    setAttribute(stateCell, "title", servo.detail);
    const command = servo.command;
    setHidden(work, !command);
    if (command) {
      setText(operation, command.operation);
      setProgress(bar, command.percent);
      setText(percent, Number.isFinite(command.percent) ? `${Math.floor(command.percent)}%` : "");
      setText(message, [age(command.runtime_seconds), command.message].filter(Boolean).join(" · "));
      setAttribute(work, "title", command.message || null);
    }
    setText(finished, count(servo.finished));
    for (const [cell, value, tone] of [[notOk, servo.not_ok, "bad"], [restarts, servo.restarts, "warn"]]) {
      setText(cell, count(value));
      setAttribute(cell, "data-tone", value > 0 ? tone : "none");
    }
    setText(lastText, servo.last ? `${servo.last.operation} ${servo.last.status}` : "");
    setText(lastAgo, servo.last ? `${roughly(servo.last.ended_seconds_ago)} ago` : "");
    setAttribute(last, "title", servo.last ? [`took ${duration(servo.last.took_seconds)}`, servo.last.message].filter(Boolean).join(": ") : null);
    setAttribute(last, "data-tone", servo.last && !isOk(servo.last) ? "bad" : null);
    setText(error, servo.error ?? "");
    setAttribute(error, "title", servo.error || null);
  };
  return { root, link, update };
}

export function isOk(last) {
  return HEALTHY.has(String(last.status).toLowerCase());
}
