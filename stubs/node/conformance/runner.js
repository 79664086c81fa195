// The Node runner of tests/conformance: `runner.js grpc ADDRESS` or `runner.js embedded CONFIG`.
import { createInterface } from "node:readline";
import { create, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { MlxForge, MlxForgeError } from "@mlxforge/client";
import {
  EmbeddingService,
  GenerationService,
  ModelService,
  TokenizerService,
} from "@mlxforge/client/v1";

/** The numbers of the status codes. */
const codes = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];

const methods = Object.fromEntries(
  [EmbeddingService, GenerationService, ModelService, TokenizerService].flatMap((service) =>
    service.methods.map((method) => [`${service.typeName}/${method.name}`, method]),
  ),
);

const [door, argument = ""] = process.argv.slice(2);
/** What a test makes fail must fail at once. */
const retry = /** @type {const} */ (false);
const client =
  door === "grpc"
    ? await MlxForge.connect(argument, { retry })
    : await MlxForge.embed({ settings: JSON.parse(argument), retry });

/** @typedef {import("@mlxforge/client").CallOptions} CallOptions */

/**
 * The responses of the client's method for an RPC.
 * @type {Record<string, (requests: any[], options: CallOptions) => AsyncIterable<any>>}
 */
const responses = {
  Generate: ([request], options) => one(client.generate(request, options)),
  StreamGenerate: ([request], options) => client.stream(request, options),
  Embed: ([request], options) => one(client.embed(request, options)),
  StreamEmbed: (requests, options) => client.streamEmbed(requests, options),
  Tokenize: ([request], options) => one(client.tokenize(request, options)),
  Detokenize: ([request], options) =>
    one(client.detokenize(request, options).then((text) => ({ text }))),
  ListModels: (_, options) => one(client.models(options).then((models) => ({ models }))),
  GetModel: ([{ model }], options) =>
    one(client.model(model, options).then((found) => ({ model: found }))),
  LoadModel: ([request], options) => client.loadModel(request, options),
  UnloadModel: ([{ model }], options) =>
    one(client.unloadModel(model, options).then((freedBytes) => ({ freedBytes }))),
};

/** @param {Promise<unknown>} response */
async function* one(response) {
  yield await response;
}

/**
 * Makes a call, says its responses and how it ended.
 * @param {string} head
 * @param {string[]} lines
 */
async function run(head, lines) {
  const [, id, name = "", timeoutMs, cancelAfter] = head.split(" ");
  const method = methods[name];
  if (!method) throw new Error(`no RPC ${name}`);
  const abort = new AbortController();
  /** @type {CallOptions} */
  const options = { signal: abort.signal };
  if (Number(timeoutMs) >= 0) options.timeoutMs = Number(timeoutMs);
  try {
    const requests = lines.map((line) => fromJsonString(method.input, line));
    const call = responses[method.name]?.(requests, options) ?? [];
    let left = Number(cancelAfter);
    if (left === 0) setImmediate(() => abort.abort());
    for await (const response of call) {
      console.log(`message ${id} ${toJsonString(method.output, create(method.output, response))}`);
      if (--left === 0) abort.abort();
    }
    console.log(`end ${id} 0 {}`);
  } catch (error) {
    if (!(error instanceof MlxForgeError)) throw error;
    const { message, reason, fieldViolations: fields, retryAfterMs } = error;
    const facts = JSON.stringify({ message, reason, fields, retryAfterMs });
    console.log(`end ${id} ${codes.indexOf(error.code)} ${facts}`);
  }
}

console.log("ready");
const running = [];
/** @type {string[]} */
let lines = [];
for await (const line of createInterface(process.stdin)) {
  lines.push(line);
  const [head = "", ...requests] = lines;
  if (requests.length === Number(head.split(" ").at(-1))) {
    running.push(run(head, requests));
    lines = [];
  }
}
await Promise.all(running);
await client.close();
