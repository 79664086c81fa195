// The client with a real engine: the examples over gRPC, and the engine inside this process.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MlxForge } from "../src/index.js";
import { FinishReason } from "../src/v1.js";
import { library, mlxforge, python, real, type Server, scripted } from "./servers.js";

const run = promisify(execFile);
const built = existsSync("dist/index.js");

/** Runs an example as `npm run build` left it. */
async function example(name: string, ...args: string[]): Promise<string> {
  return (await run("node", [`build/examples/${name}.js`, ...args])).stdout.trim();
}

describe.skipIf(!built)("examples", () => {
  let server: Server;

  beforeAll(async () => {
    await run("node", ["node_modules/typescript/bin/tsc", "-p", "tsconfig.examples.json"]);
    if (mlxforge) server = await real();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  test.skipIf(!mlxforge)("json", async () => {
    expect(await example("json", server.address)).toMatch(/^.+ lies in (France|Italy|Spain)$/);
  });

  test.skipIf(!mlxforge)("deadline", async () => {
    const output = await example("deadline", server.address);
    expect(output).toMatch(/^too late\nsampling_params.top_p must be/);
  });

  test.skipIf(!mlxforge)("search", async ({ skip }) => {
    await using client = await MlxForge.connect(server.address);
    const models = await client.models();
    skip(!models.some(({ embedding }) => embedding), "no default model embeds");
    expect(await example("search", server.address)).toBe("A man is eating food.");
  });

  test.skipIf(!mlxforge)("chat", async () => {
    const chat = spawn("node", ["build/examples/chat.js", server.address]);
    let output = "";
    chat.stdout.on("data", (data) => {
      output += data;
    });
    chat.stdin.end("What is the capital of France?\n");
    await once(chat, "exit");
    expect(output).toContain("Paris");
  });

  test.skipIf(!python)("tools", async () => {
    await using scriptedServer = await scripted();
    const calls = [{ name: "weather", arguments: '{"city":"Paris"}' }];
    const question = JSON.stringify({ text: [], tool_calls: calls });
    expect(await example("tools", scriptedServer.address, question)).toBe(
      'after 2 rounds: {"city":"Paris","celsius":21,"sky":"clear"}',
    );
  });
});

describe.skipIf(!library)("an engine in this process", () => {
  let forge: MlxForge;
  const options = { model: "smollm2-135m-instruct", library: library as string };
  const counting = { prompt: "1, 2, 3, 4,", maxTokens: 12, samplingParams: { temperature: 0 } };

  beforeAll(async () => {
    forge = await MlxForge.embed(options);
  });
  afterAll(() => forge.close());

  test("streams what it generates", async () => {
    const whole = await forge.generate(counting);
    expect(whole.choices[0]?.finishReason).toBe(FinishReason.LENGTH);
    expect(await forge.stream(counting).text()).toBe(whole.choices[0]?.text);
    expect((await forge.stream(counting).final()).choices).toEqual(whole.choices);
  });

  test("has the same errors", async () => {
    await expect(forge.generate({})).rejects.toMatchObject({
      name: "InvalidArgumentError",
      reason: "INVALID_REQUEST",
      fieldViolations: [{ field: "prompt" }],
    });
    await expect(forge.model("no such")).rejects.toMatchObject({ name: "NotFoundError" });
    const endless = { ...counting, maxTokens: 4000, ignoreEos: true };
    await expect(forge.generate(endless, { timeoutMs: 50 })).rejects.toMatchObject({
      name: "DeadlineExceededError",
    });
    const signal = AbortSignal.timeout(100);
    await expect(forge.generate(endless, { signal })).rejects.toMatchObject({
      name: "DeadlineExceededError",
    });
    for await (const _ of forge.stream(endless)) break;
  });

  test("runs 64 streams at once", async () => {
    const streams = Array.from({ length: 64 }, () => forge.stream(counting).final());
    for (const { usage } of await Promise.all(streams)) expect(usage?.completionTokens).toBe(12);
  }, 120_000);

  test("ends its calls when it is closed", async () => {
    const other = await MlxForge.embed(options);
    const endless = other.generate({ ...counting, maxTokens: 4000, ignoreEos: true });
    const failed = expect(endless).rejects.toMatchObject({ name: "CancelledError" });
    await other.tokenize("the call above has begun");
    await other.close();
    await failed;
    await expect(other.tokenize("closed")).rejects.toMatchObject({ name: "CancelledError" });
  }, 60_000);
});

test("a library that is none", async () => {
  await expect(MlxForge.embed({ library: "/no/such/libmlxforge.so" })).rejects.toMatchObject({
    name: "FailedPreconditionError",
    message: expect.stringContaining("pip install mlxforge"),
  });
});
