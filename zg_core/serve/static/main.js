// Which page is shown, and what keeps it fresh.

import { Refused, headers, read, takeToken, token } from "./api.js";
import * as bundle from "./bundle.js";
import * as calls from "./calls.js";
import * as chat from "./chat.js";
import { by, choices } from "./dom.js";
import * as money from "./money.js";
import * as receipt from "./receipt.js";
import { use } from "./use.js";

const PAGES = ["calls", "chat", "spend", "providers", "account", "bundle", "use"];
const EVERY = 1500;
let overview = null;
let shown = "";

/** Run it; what goes wrong is said on the page. */
async function guard(work) {
  try {
    await work();
    by("problem").hidden = true;
  } catch (error) {
    if (error instanceof Refused) return show("token", token.get() ? "This token opens nothing here." : "");
    by("problem").textContent = error.message;
    by("problem").hidden = false;
  }
}

function show(name, said = "") {
  shown = name;
  for (const each of [...PAGES, "token"]) by(`page-${each}`).hidden = each !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  by("problem").textContent = said;
  by("problem").hidden = !said;
}

async function load() {
  const before = overview;
  overview ??= await read("overview");
  if (before) return;
  by("network").textContent = `${overview.network} · verify ${overview.verify}`;
  const response = await fetch("/v1/models", { headers: headers(), credentials: "omit" });
  const models = response.ok ? (await response.json()).data.map((each) => each.id) : overview.models;
  choices(by("ask-model"), models);
  choices(by("use-model"), models);
}

async function go() {
  const name = PAGES.includes(location.hash.slice(1)) ? location.hash.slice(1) : "calls";
  await guard(async () => {
    await load();
    show(name);
    if (name === "calls") await calls.refresh();
    if (name === "spend") await money.spend((overview = await read("overview")));
    if (name === "providers") await money.providers();
    if (name === "account") await money.account();
    if (name === "use") use();
  });
  by("main").focus({ preventScroll: true });
}

function theme(name) {
  if (name === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = name;
  localStorage.setItem("zerog-theme", name);
}

async function beat() {
  if (shown === "calls" && !document.hidden) await guard(calls.refresh);
  setTimeout(beat, EVERY);
}

takeToken();
const known = localStorage.getItem("zerog-theme") ?? "auto";
by("theme").value = known;
theme(known);
by("theme").addEventListener("change", () => theme(by("theme").value));
by("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(by("token").value);
  by("token").value = "";
  go();
});
by("use-model").addEventListener("change", use);
bundle.start(guard);
calls.start(guard);
receipt.start(guard);
chat.start();
addEventListener("hashchange", () => {
  takeToken();
  go();
});
go().then(beat);
