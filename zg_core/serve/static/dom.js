// Building what is seen. Strangers' words become text nodes, never markup: nothing here takes HTML.

export const by = (id) => document.getElementById(id);

/** An element with a class, and children that are elements or text. */
export function make(name, style, ...children) {
  const made = document.createElement(name);
  if (style) made.className = style;
  made.append(...children.filter((each) => each !== null && each !== undefined));
  return made;
}

/** Characters that turn the writing direction, or cannot be seen, are shown as what they are. */
export function plain(text) {
  return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, "\ufffd");
}

/** A row of a table; each cell is [label, content, style]. */
export function row(style, ...cells) {
  const made = make("tr", style);
  for (const [label, content, kind] of cells) {
    const cell = make("td", kind, content ?? "-");
    cell.dataset.label = label;
    made.append(cell);
  }
  return made;
}

export function short(address) {
  const made = make("span", "mono", address.length > 16 ? `${address.slice(0, 8)}…${address.slice(-4)}` : address);
  made.title = address;
  return made;
}

export function tag(verdict) {
  const good = verdict === "verified" ? "good" : verdict === "failed" ? "bad" : "";
  return make("span", `tag ${good}`, verdict.replaceAll("_", " "));
}

/** Choices of a list, keeping what is chosen. */
export function choices(list, values) {
  const known = new Set([...list.options].map((each) => each.value));
  for (const value of values) {
    if (known.has(value)) continue;
    const option = make("option", "", value);
    option.value = value;
    list.append(option);
    known.add(value);
  }
}
