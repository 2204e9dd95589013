// SPDX-License-Identifier: Apache-2.0
// Compiles the contracts to artifacts/, or compares with what is there:
//   node build.mjs            write the artifacts
//   node build.mjs --check    exit 1 and name the differences; nothing is written
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import solc from "solc";

const ROOT = dirname(fileURLToPath(import.meta.url));
const ARTIFACTS = join(ROOT, "artifacts");
const COMPILER = "0.8.22";
// 2519: initialize(owner) shadows owner(), but argument names are part of the ABI;
// 2018: supportsInterface could be pure, but the ABI says view
const ACCEPTED_WARNINGS = new Set(["2519", "2018"]);

// Source file -> artifact; each file holds one contract of the same name.
const CONTRACTS = {
  "LedgerManager.sol": "LedgerManager.json",
  "InferenceServing.sol": "InferenceServing.json",
  "proxy/BeaconProxy.sol": "BeaconProxy.json",
  "proxy/UpgradeableBeacon.sol": "UpgradeableBeacon.json",
  "opengradient/EnclaveRegistry.sol": "opengradient/EnclaveRegistry.json",
  "opengradient/ExactProxy.sol": "opengradient/ExactProxy.json",
  "opengradient/PaymentToken.sol": "opengradient/PaymentToken.json",
  "opengradient/PermitTransfer.sol": "opengradient/PermitTransfer.json",
  "opengradient/SettlementRelay.sol": "opengradient/SettlementRelay.json",
  "opengradient/UptoProxy.sol": "opengradient/UptoProxy.json",
  "test/ContractWallet.sol": "test/ContractWallet.json",
  "test/ScriptedService.sol": "test/ScriptedService.json",
};

// What is compiled at the same time: the compiler is slow and uses one core, and the first two take most of it.
const [LEDGER, SERVING, ...SMALL] = Object.keys(CONTRACTS);
const JOBS = [[LEDGER], [SERVING], SMALL];

const SETTINGS = {
  viaIR: true,
  optimizer: { enabled: true, runs: 200 },
  evmVersion: "paris",
  // no metadata hash: the code depends on the sources' meaning only, not on comments, paths or names of files
  metadata: { bytecodeHash: "none", appendCBOR: false },
};

function sources(folder = "") {
  const found = {};
  for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
    const path = folder ? `${folder}/${entry.name}` : entry.name;
    if (entry.isDirectory() && entry.name !== "node_modules" && entry.name !== "artifacts") {
      Object.assign(found, sources(path));
    } else if (entry.name.endsWith(".sol")) {
      found[path] = { content: readFileSync(join(ROOT, path), "utf8").replaceAll("\r\n", "\n") };
    }
  }
  return found;
}

// Inputs and outputs keep their order (it is the encoding); everything else is sorted.
function stable(value) {
  if (Array.isArray(value)) return value.map(stable);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, stable(value[key])]),
  );
}

function abiOrder(a, b) {
  const key = (entry) =>
    [entry.type, entry.name ?? "", (entry.inputs ?? []).map((input) => input.type).join(",")].join(" ");
  return key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0;
}

// Compiles some of the contracts, in a worker. Returns artifact -> content.
function compileSome(wanted) {
  if (!solc.version().startsWith(`${COMPILER}+`)) {
    throw new Error(`solc ${solc.version()} is installed, ${COMPILER} is needed: run npm ci`);
  }
  const outputs = { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] };
  const outputSelection = Object.fromEntries(wanted.map((source) => [source, outputs]));
  const input = { language: "Solidity", sources: sources(), settings: { ...SETTINGS, outputSelection } };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const complaints = (output.errors ?? []).filter((entry) => !ACCEPTED_WARNINGS.has(entry.errorCode));
  if (complaints.length > 0) throw new Error(complaints.map((entry) => entry.formattedMessage).join("\n"));
  const artifacts = wanted.map((source) => {
    const name = basename(source, ".sol");
    const { abi, evm } = output.contracts[source][name];
    const content = {
      abi: abi.sort(abiOrder).map(stable),
      bytecode: `0x${evm.bytecode.object}`,
      compiler: COMPILER,
      contractName: name,
      deployedBytecode: `0x${evm.deployedBytecode.object}`,
      sourceName: source,
    };
    return [CONTRACTS[source], `${JSON.stringify(content, null, 1)}\n`];
  });
  return Object.fromEntries(artifacts);
}

async function compile() {
  const workers = JOBS.map((wanted) => new Worker(fileURLToPath(import.meta.url), { workerData: wanted }));
  const answer = (worker) =>
    new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
  try {
    return Object.assign({}, ...(await Promise.all(workers.map(answer))));
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

function committed(folder = "") {
  const directory = join(ARTIFACTS, folder);
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = folder ? `${folder}/${entry.name}` : entry.name;
    return entry.isDirectory() ? committed(path) : [path];
  });
}

function differences(artifacts) {
  const lines = [];
  for (const [name, wanted] of Object.entries(artifacts)) {
    const path = join(ARTIFACTS, name);
    if (!existsSync(path)) {
      lines.push(`${name}: missing`);
      continue;
    }
    const found = readFileSync(path, "utf8");
    if (found === wanted) continue;
    const [was, is] = [JSON.parse(found), JSON.parse(wanted)];
    const fields = Object.keys({ ...was, ...is }).filter((key) => JSON.stringify(was[key]) !== JSON.stringify(is[key]));
    lines.push(`${name}: ${fields.length > 0 ? `${fields.join(", ")} differ` : "formatted differently"}`);
  }
  for (const name of committed()) {
    if (!(name in artifacts)) lines.push(`${name}: no source compiles to it`);
  }
  return lines;
}

async function main() {
  let artifacts;
  try {
    artifacts = await compile();
  } catch (error) {
    console.error(error.message);
    return 1;
  }
  if (process.argv.includes("--check")) {
    const lines = differences(artifacts);
    if (lines.length > 0) {
      console.error(`the committed artifacts are not what the sources compile to:\n  ${lines.join("\n  ")}`);
      console.error("run `node build.mjs` and commit the result");
      return 1;
    }
    console.log(`${Object.keys(artifacts).length} artifacts match their sources`);
    return 0;
  }
  rmSync(ARTIFACTS, { recursive: true, force: true });
  for (const [name, content] of Object.entries(artifacts)) {
    mkdirSync(dirname(join(ARTIFACTS, name)), { recursive: true });
    writeFileSync(join(ARTIFACTS, name), content);
    const { deployedBytecode } = JSON.parse(content);
    console.log(`${name}: ${(deployedBytecode.length - 2) / 2} bytes`);
  }
  return 0;
}

if (isMainThread) {
  process.exitCode = await main();
} else {
  parentPort.postMessage(compileSome(workerData));
}
