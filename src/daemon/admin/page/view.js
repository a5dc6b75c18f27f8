// What the address says is looked at: the part behind its #.

const PAGE = 100;

/** What servos can be sorted by, as the daemon calls it. */
const SORTS = new Set(["name", "state", "command", "finished", "not_ok", "restarts", "last", "error"]);

/** `{q, state, sort, reverse, page, servo, tree}`, from the address. */
export function fromAddress() {
  const said = new URLSearchParams(location.hash.slice(1));
  const page = Number.parseInt(said.get("page") ?? "1", 10);
  return {
    q: said.get("q") ?? "",
    state: said.get("state") ?? "",
    sort: SORTS.has(said.get("sort")) ? said.get("sort") : "name",
    reverse: said.get("reverse") === "1",
    page: Number.isSafeInteger(page) && page > 0 ? page : 1,
    servo: said.get("servo") || null,
    tree: said.get("tree") === "1",
  };
}

/** The part behind # that stands for `view`. */
export function toAddress(view) {
  const said = new URLSearchParams();
  if (view.q) said.set("q", view.q);
  if (view.state) said.set("state", view.state);
  if (view.sort !== "name") said.set("sort", view.sort);
  if (view.reverse) said.set("reverse", "1");
  if (view.page > 1) said.set("page", String(view.page));
  if (view.servo !== null) said.set("servo", view.servo);
  if (view.servo !== null && view.tree) said.set("tree", "1");
  return `#${said}`;
}

/** Where the servos of `view` are. */
export function listPath(view) {
  const query = new URLSearchParams({ offset: String((view.page - 1) * PAGE), limit: String(PAGE) });
  if (view.state) query.set("state", view.state);
  if (view.q) query.set("q", view.q);
  if (view.sort !== "name") query.set("sort", view.sort);
  if (view.reverse) query.set("reverse", "true");
  return `api/v1/servos?${query}`;
}

/** Where a servo is. */
export function servoPath(name) {
  return `api/v1/servos/${encodeURIComponent(name)}`;
}

/** Where a servo and what is below it in the supervision tree are. */
export function treePath(name) {
  return `api/v1/tree?${new URLSearchParams({ path: `servo/assembly/${name}` })}`;
}

export function pageCount(matched) {
  return Math.max(1, Math.ceil(matched / PAGE));
}

/** Which servos the page shows, of how many. */
export function range(offset, shown, matched) {
  const number = (n) => n.toLocaleString("en");
  return shown === 0 ? "0 of " + number(matched) : `${number(offset + 1)}–${number(offset + shown)} of ${number(matched)}`;
}
