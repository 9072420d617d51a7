// Elements made of data. Whatever a name holds becomes text: nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element; `on…` are listeners, true and false are attributes without a value. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else set(made, name, value);
  }
  made.append(...children.flat().filter((each) => each !== null && each !== undefined && each !== ""));
  return made;
}

/** Set an attribute, only if it is another one. */
export function set(element, name, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value === true ? "" : value))
    element.setAttribute(name, value === true ? "" : value);
}

/** Set a text, only if it is another one, so that nothing flickers or loses its selection. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Make the children of `parent` those of `items`, keeping those that stay with what they hold. */
export function keyed(parent, items, key, make, update) {
  const kept = new Map([...parent.children].map((each) => [each.dataset.key, each]));
  let before = null;
  for (const item of items) {
    const name = key(item);
    let child = kept.get(name);
    kept.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    update(child, item);
    const next = before ? before.nextSibling : parent.firstChild;
    if (next !== child) parent.insertBefore(child, next);
    before = child;
  }
  for (const gone of kept.values()) gone.remove();
}

/** Return a dot and a word for a condition. */
export function pill(condition, word = condition) {
  return el("span", { class: `pill ${condition}` }, word);
}
