// The few things that this page does to the document. All text goes in as text, never as markup.

export const byId = (id) => document.getElementById(id);

/** An element of a class, with children; strings become text. */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Sets what changed only, so that a selection of text and the place of the reader stay. */
export function setText(node, text) {
  const wanted = String(text ?? "");
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, String(value));
  }
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

const VIEWS = Symbol("views");

/**
 * Makes the children of `parent` those of `items`, in order: children of the same key stay the same
 * elements. `make` returns `{root, update}`.
 */
export function reconcile(parent, items, keyOf, make) {
  const known = parent[VIEWS] ?? new Map();
  const next = new Map();
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    if (next.has(key)) continue;
    const view = known.get(key) ?? make(item);
    view.update(item);
    next.set(key, view);
    if (view.root === place) place = place.nextElementSibling;
    else parent.insertBefore(view.root, place);
  }
  for (const [key, view] of known) if (next.get(key) !== view) view.root.remove();
  parent[VIEWS] = next;
  return next;
}

/** A bar of progress; what is not known yet is no bar. */
export function setProgress(bar, percent) {
  const known = Number.isFinite(percent);
  const shown = known ? Math.min(100, Math.max(0, percent)) : 0;
  setAttribute(bar, "aria-valuenow", known ? Math.round(shown) : null);
  bar.firstElementChild.style.width = `${shown}%`;
}
