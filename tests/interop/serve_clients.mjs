// Clients in JavaScript in front of `zerog serve`: the official one, and the Vercel AI SDK. Prints one JSON line a step.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const { BASE_URL: baseURL, TOKEN: apiKey, MODEL: model, BROKEN: broken } = process.env;
const question = "What is the capital of France?";
const messages = [{ role: "user", content: question }];

async function step(name, work) {
  let line;
  try {
    line = { step: name, ok: true, facts: await work() };
  } catch (error) {
    line = { step: name, ok: false, said: String(error), where: error.stack };
  }
  console.log(JSON.stringify(line));
}

async function refused(work) {
  try {
    const value = await work();
    return { name: "nothing", value: String(value) };
  } catch (error) {
    return { name: error.constructor.name, status: error.status ?? error.statusCode, code: error.code, message: error.message };
  }
}

const openai = new OpenAI({ baseURL, apiKey, maxRetries: 2 });
const compatible = createOpenAICompatible({ name: "zerog", baseURL, apiKey, includeUsage: true });

await step("openai_whole", async () => {
  const { data, response } = await openai.chat.completions.create({ model, messages }).withResponse();
  return { text: data.choices[0].message.content, verdict: response.headers.get("x-zerog-verdict"), receipt: response.headers.get("x-zerog-receipt") };
});
await step("openai_stream", async () => {
  let text = "";
  for await (const chunk of await openai.chat.completions.create({ model, messages, stream: true })) {
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  return { text };
});
await step("openai_models", async () => ({ ids: (await openai.models.list()).data.map((each) => each.id) }));
await step("openai_wrong_token", () => refused(() => new OpenAI({ baseURL, apiKey: "wrong" }).models.list()));
await step("openai_unknown_model", () => refused(() => openai.chat.completions.create({ model: "none", messages })));
await step("openai_tampered", () => refused(() => openai.chat.completions.create({ model: broken, messages })));
await step("openai_tampered_stream", () =>
  refused(async () => {
    for await (const chunk of await openai.chat.completions.create({ model: broken, messages, stream: true })) void chunk;
  }),
);
await step("ai_whole", async () => {
  const answer = await generateText({ model: compatible(model), prompt: question });
  return { text: answer.text, verdict: answer.response.headers["x-zerog-verdict"] };
});
await step("ai_stream", async () => {
  const answer = streamText({ model: compatible(model), prompt: question });
  let text = "";
  for await (const piece of answer.textStream) text += piece;
  return { text, receipt: (await answer.response).headers["x-zerog-receipt"] };
});
await step("ai_tampered", () => refused(() => generateText({ model: compatible(broken), prompt: question })));
await step("ai_tampered_stream", () =>
  refused(async () => {
    let failure = null;
    const answer = streamText({ model: compatible(broken), prompt: question, onError: ({ error }) => (failure = error) });
    for await (const piece of answer.textStream) void piece;
    if (failure) throw failure instanceof Error ? failure : Object.assign(new Error(JSON.stringify(failure)), failure);
  }),
);
