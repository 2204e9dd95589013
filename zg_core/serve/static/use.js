// The same question in curl, Python and JavaScript.

import { by } from "./dom.js";

export function use() {
  const model = by("use-model").value;
  const base = `${location.origin}/v1`;
  const name = JSON.stringify(model);
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "What is the capital of France?" }] });
  by("use-curl").textContent =
    `curl -i ${base}/chat/completions \\\n  -H "Authorization: Bearer $ZEROG_SERVE_TOKEN" \\\n  -H 'Content-Type: application/json' \\\n  -d '${body.replaceAll("'", "'\\''")}'`;
  by("use-python").textContent =
    `import os\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${base}", api_key=os.environ["ZEROG_SERVE_TOKEN"])\n` +
    `answer = client.chat.completions.with_raw_response.create(\n    model=${name},\n    messages=[{"role": "user", "content": "What is the capital of France?"}],\n)\n` +
    `print(answer.headers["X-Zerog-Verdict"], answer.parse().choices[0].message.content)`;
  by("use-js").textContent =
    `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: "${base}", apiKey: process.env.ZEROG_SERVE_TOKEN });\n` +
    `const { data, response } = await client.chat.completions\n  .create({ model: ${name}, messages: [{ role: "user", content: "What is the capital of France?" }] })\n  .withResponse();\n` +
    `console.log(response.headers.get("x-zerog-verdict"), data.choices[0].message.content);`;
}
