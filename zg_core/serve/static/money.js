// What was spent, what is left, who answers at which price, and what lies where. Nothing here moves money.

import { read } from "./api.js";
import { by, make, row, short } from "./dom.js";

const SHAPES = "http://www.w3.org/2000/svg";

export async function spend(overview) {
  const found = await read("spend");
  by("left").replaceChildren(...(found.left.length ? found.left.map(tile) : [make("p", "dim", "No budget is set: zerog serve --budget 5/day")]));
  by("days").replaceChildren(
    ...found.days.toReversed().map((each) =>
      row("", ["Day", each.day], ["Spent", each.spent.text, "num"], ["At most more", each.unknown.text, "num"], ["Calls", String(each.calls), "num"]),
    ),
  );
  chart(found.days.filter((each) => each.spent.unit === "neuron"));
  by("keys").replaceChildren(
    ...overview.keys.map((each) => row("", ["Name", each.name], ["Budget", each.budget], ["Spent", each.spent.text, "num"], ["Status", each.revoked ? "revoked" : "works"])),
  );
}

function tile({ period, left, of }) {
  const bar = make("progress");
  bar.max = 1;
  bar.value = Number(left.units) / Number(of.units);
  bar.setAttribute("aria-label", `left of the budget per ${period}`);
  return make("div", "tile", make("span", "dim", `Left of ${of.text} per ${period}`), make("strong", "", left.text), bar);
}

function chart(days) {
  const most = Math.max(...days.map((each) => Number(each.spent.units)), 0);
  if (!most) return by("chart").replaceChildren(make("p", "dim", "Nothing was spent in the last 30 days."));
  const width = 30;
  const drawing = shape("svg", { viewBox: `0 0 ${Math.max(days.length, 10) * width} 120`, preserveAspectRatio: "none", role: "img", "aria-label": "Spent per day" });
  days.forEach((each, at) => {
    const height = (100 * Number(each.spent.units)) / most;
    const bar = shape("rect", { x: at * width + 4, y: 110 - height, width: width - 8, height: Math.max(height, 1) });
    const title = shape("title", {});
    title.textContent = `${each.day}: ${each.spent.text}, ${each.calls} calls`;
    bar.append(title);
    drawing.append(bar);
  });
  by("chart").replaceChildren(drawing);
}

function shape(name, attributes) {
  const made = document.createElementNS(SHAPES, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export async function providers() {
  const found = await read("providers");
  by("providers").replaceChildren(
    ...found.map((each) => {
      const price = (amount) => `${amount.text}${each.usd ? " (bills in USD)" : ""} / ${each.price_for}`;
      const attested = each.attested === null ? (each.attest ? make("code", "", each.attest) : "not asked") : `level ${each.attested}`;
      return row(
        "",
        ["Model", each.model],
        ["Provider", short(each.provider)],
        ["Kind", each.acknowledged ? each.kind : `${each.kind}, not acknowledged`],
        ["Prompt", each.prompt],
        ["Input", price(each.input_price), "num"],
        ["Output", price(each.output_price), "num"],
        ["Attested", attested],
      );
    }),
  );
}

export async function account() {
  const found = await read("account");
  if (found.backend !== "direct") {
    const said = [
      ["Backend", found.backend],
      ["Payer", make("span", "mono", found.payer)],
      ["Realm", found.realm],
      ...found.facts.map(([name, amount]) => [name, amount.text]),
      ["To look after it", make("code", "", found.fund)],
    ];
    by("wallet").replaceChildren(...said.flatMap(([name, value]) => [make("dt", "", name), make("dd", "", value)]));
    by("accounts").replaceChildren();
    return;
  }
  const facts = [
    ["Wallet", make("span", "mono", found.wallet)],
    ["Network", `${found.network}, chain ${found.chain_id}`],
    ["Coins", found.balance.text],
    ["Ledger", found.ledger ? `${found.ledger.available.text} available, ${found.ledger.locked.text} in sub-accounts` : "none yet"],
    ["To add to the ledger", make("code", "", found.deposit)],
  ];
  by("wallet").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", "", name), make("dd", "", value)]));
  by("accounts").replaceChildren(
    ...found.accounts.map((each) =>
      row(
        "",
        ["Provider", short(each.provider)],
        ["Model", each.model ?? "not registered"],
        ["Usable", each.usable.text, "num"],
        ["Pending refund", each.pending_refund.text, "num"],
        ["Acknowledged", each.acknowledged ? "yes" : "no"],
        ["To fund it", make("code", "", each.fund)],
      ),
    ),
  );
}
