// The live list of calls, and its filters.

import { ask, read } from "./api.js";
import { by, choices, make, row, short, tag } from "./dom.js";
import { open } from "./receipt.js";

const MOST = 500;
const calls = new Map();
const FILTERS = { verdict: "f-verdict", model: "f-model", provider: "f-provider", caller: "f-caller" };
let last = 0;
let first = true;

export async function refresh() {
  const news = await read(`calls?after=${last}`);
  last = news.last;
  for (const call of news.calls) {
    calls.delete(call.id);
    calls.set(call.id, call);
  }
  while (calls.size > 4 * MOST) calls.delete(calls.keys().next().value);
  if (news.calls.length || first) show(new Set(first ? [] : news.calls.map((each) => each.id)));
  if (news.calls.length && !first) {
    const newest = news.calls.at(-1);
    by("calls-live").textContent = `${newest.model}: ${newest.verdict}`;
  }
  first = false;
}

const wanted = () => Object.entries(FILTERS).map(([name, id]) => [name, by(id).value]).filter(([, value]) => value);

function show(news) {
  const all = [...calls.values()].sort((a, b) => (a.at < b.at ? 1 : -1));
  for (const [name, id] of Object.entries(FILTERS)) choices(by(id), all.map((each) => each[name]).filter(Boolean));
  const filters = wanted();
  const found = all.filter((each) => filters.every(([name, value]) => each[name] === value));
  const focused = document.activeElement?.dataset?.receipt;
  by("calls").replaceChildren(...found.slice(0, MOST).map((each) => line(each, news.has(each.id))));
  by("calls-count").textContent = filters.length ? `${found.length} of ${all.length}` : `${all.length}`;
  by("calls-none").hidden = found.length > 0;
  if (focused) by("calls").querySelector(`[data-receipt="${CSS.escape(focused)}"]`)?.focus();
}

function line(call, fresh) {
  const time = make("button", "", new Date(call.at).toLocaleTimeString());
  time.type = "button";
  time.title = `${call.at}: show the receipt`;
  time.dataset.receipt = call.id;
  time.addEventListener("click", () => open(call.id));
  const verdict = make("span", "", tag(call.verdict), call.outcome === "answered" ? null : ` ${call.outcome}`);
  verdict.title = call.explanation;
  const seconds = (value) => (value === null ? "-" : `${value.toFixed(2)} s`);
  const tokens = call.prompt_tokens === null ? "-" : `${call.prompt_tokens} + ${call.completion_tokens}`;
  const style = [call.verdict === "failed" ? "bad" : "", fresh ? "new" : ""].join(" ").trim();
  return row(
    style,
    ["Time", time],
    ["Model", call.caller && call.caller !== "owner" ? `${call.model} (${call.caller})` : call.model],
    ["Provider", short(call.provider)],
    ["Verdict", verdict],
    ["Fee", call.fee_exact ? call.fee.text : `${call.fee.text} ?`, "num"],
    ["First byte", seconds(call.first_byte_seconds), "num"],
    ["Total", seconds(call.seconds), "num"],
    ["Tokens", tokens, "num"],
  );
}

async function save(format) {
  const query = new URLSearchParams({ format });
  for (const [name, value] of wanted()) if (name !== "caller") query.set(name, value);
  const response = await ask(`export?${query}`);
  const link = make("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = `receipts.${format}`;
  document.body.append(link);
  link.click();
  link.remove();
  URL.revokeObjectURL(link.href);
}

export function start(guard) {
  for (const id of Object.values(FILTERS)) by(id).addEventListener("change", () => show(new Set()));
  by("filters").addEventListener("submit", (event) => event.preventDefault());
  by("export-json").addEventListener("click", () => guard(() => save("json")));
  by("export-csv").addEventListener("click", () => guard(() => save("csv")));
}
