// A bundle of receipts, checked again: who answered each step, what is proven of it, what nobody vouches for.

import { read } from "./api.js";
import { by, make, row, short, tag } from "./dom.js";

async function check() {
  const [file] = by("bundle-file").files;
  by("bundle-lines").replaceChildren();
  by("bundle-facts").replaceChildren(make("dt", "", "Bundle"), make("dd", "", "checking…"));
  try {
    show(file.name, await read(`bundle?anchor=${by("bundle-anchor").value}`, { method: "POST", body: file }));
  } catch (error) {
    by("bundle-facts").replaceChildren(make("dt", "", "Bundle"), make("dd", "", "refused"));
    throw error;
  }
}

function show(name, found) {
  const facts = [
    ["Bundle", `${name}, ${found.lines.length} receipts${found.run ? `, run ${found.run}` : ""}`],
    ["Manifest", make("span", "mono", found.sha256)],
    ["Signed by", found.signer ? make("span", "mono", found.signer) : "nobody: whoever had it may have changed it"],
  ];
  by("bundle-facts").replaceChildren(...facts.flatMap(([label, value]) => [make("dt", "", label), make("dd", "", value)]));
  by("bundle-lines").replaceChildren(...found.lines.map(line));
}

function line(each) {
  const style = { passed: "good", failed: "bad" }[each.result] ?? "";
  const result = make("span", "", make("span", `tag ${style}`, each.result), make("div", "dim", each.reason));
  return row(
    each.result === "failed" ? "bad" : "",
    ["Step", `${each.step} ${each.name}`.trim()],
    ["Who answered", make("span", "", short(each.provider), ` ${each.model}`)],
    ["Result", result],
    ["Verdict", tag(each.verdict)],
    ["Fee", each.fee, "num"],
    ["Nobody vouches for", each.unvouched.join(", ")],
  );
}

export function start(guard) {
  by("bundle-form").addEventListener("submit", (event) => {
    event.preventDefault();
    guard(check);
  });
}
