// One receipt in full: what each check showed, and the check made again.

import { read } from "./api.js";
import { by, make, tag } from "./dom.js";

const SIGNS = { passed: ["good", "shown"], failed: ["bad", "contradicted"], open: ["", "not shown"], told: ["", "told"] };
let current = "";
let report = () => {};

export async function open(id) {
  await report(async () => {
    const found = await read(`receipts/${encodeURIComponent(id)}`);
    current = id;
    const receipt = found.receipt;
    by("detail-verdict").replaceChildren(tag(receipt.status), ` ${receipt.verdict.explanation}.`);
    by("detail-steps").replaceChildren(...found.steps.map(step));
    by("detail-checked").textContent = "";
    by("detail-open").replaceChildren();
    by("detail-json").textContent = JSON.stringify(receipt, null, 2);
    if (!by("detail").open) by("detail").showModal();
  });
}

function step({ name, result, said }) {
  const [style, word] = SIGNS[result] ?? ["", result];
  return make("li", "", make("span", `tag ${style}`, word), ` ${name}`, make("div", "dim mono", said));
}

async function again() {
  by("detail-checked").textContent = "checking…";
  const found = await read(`receipts/${encodeURIComponent(current)}/verify`, { method: "POST" });
  const style = { passed: "good", failed: "bad" }[found.result] ?? "";
  by("detail-checked").replaceChildren(make("span", `tag ${style}`, found.result), ` ${found.reason} (anchor: ${found.anchor ?? "none"})`);
  const names = make("details", "", make("summary", "", `What nobody vouches for (${found.unvouched.length} fields)`), found.unvouched.join(", "));
  by("detail-open").replaceChildren(...(found.unvouched.length ? [names] : []), ...found.notes.map((each) => make("p", "dim", each)));
}

export function start(guard) {
  report = guard;
  by("detail-again").addEventListener("click", () => guard(again));
}
