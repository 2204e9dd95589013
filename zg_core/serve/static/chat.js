// A conversation. The verdict of an answer comes in the last comment of its stream; what fails is struck out.

import { headers } from "./api.js";
import { by, make, plain, tag } from "./dom.js";
import { open } from "./receipt.js";

let messages = [];
let stop = null;

async function send(event) {
  event.preventDefault();
  const text = by("ask-text").value.trim();
  if (!text || stop) return;
  by("ask-text").value = "";
  said("me", text);
  messages.push({ role: "user", content: text });
  const words = make("div", "words");
  const foot = make("div", "dim", tag("pending"));
  const box = make("article", "said", make("strong", "", by("ask-model").value), words, foot);
  by("talk").append(box);
  stop = new AbortController();
  by("ask-send").disabled = true;
  by("ask-stop").disabled = false;
  const answer = { text: "", facts: null, error: null, done: false };
  try {
    await stream(answer, words);
  } catch (error) {
    answer.error = error.name === "AbortError" ? "stopped; it may be billed all the same" : error.message;
  }
  stop = null;
  by("ask-send").disabled = false;
  by("ask-stop").disabled = true;
  end(box, foot, answer);
}

async function stream(answer, words) {
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { ...headers(), "Content-Type": "application/json" },
    body: JSON.stringify({ model: by("ask-model").value, messages, stream: true, stream_options: { include_usage: true } }),
    signal: stop.signal,
    credentials: "omit",
  });
  if (!response.ok) {
    const { error } = await response.json();
    answer.facts = error.zerog ?? null;
    throw new Error(error.message);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) hear(line.trimEnd(), answer, words);
  }
}

function hear(line, answer, words) {
  if (line.startsWith(": zerog ")) {
    answer.facts = JSON.parse(line.slice(8));
  } else if (line === "data: [DONE]") {
    answer.done = true;
  } else if (line.startsWith("data: ")) {
    const event = JSON.parse(line.slice(6));
    if (event.error) answer.error = event.error.message;
    const piece = event.choices?.[0]?.delta?.content;
    if (typeof piece === "string") {
      answer.text += piece;
      words.append(plain(piece));
    }
  }
}

function end(box, foot, answer) {
  const verdict = answer.facts?.verdict ?? "not checked";
  const failed = answer.error !== null || !answer.done;
  foot.replaceChildren(tag(verdict));
  if (answer.facts) {
    const facts = answer.facts;
    const show = make("button", "", "Receipt");
    show.type = "button";
    show.addEventListener("click", () => open(facts.receipt));
    foot.append(` ${facts.provider.slice(0, 10)}… · ${facts.fee_exact ? "" : "about "}${facts.fee} ${facts.unit} `, show);
  }
  if (failed) {
    box.classList.add("bad");
    foot.append(make("p", "", answer.error ?? "the answer broke off"));
    messages.pop();
  } else {
    messages.push({ role: "assistant", content: answer.text });
  }
}

function said(style, text) {
  by("talk").append(make("article", `said ${style}`, make("strong", "", "You"), make("div", "words", plain(text))));
}

export function start() {
  by("ask").addEventListener("submit", send);
  by("ask-stop").addEventListener("click", () => stop?.abort());
  by("ask-new").addEventListener("click", () => {
    stop?.abort();
    messages = [];
    by("talk").replaceChildren();
  });
  by("ask-text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) by("ask").requestSubmit();
  });
}
