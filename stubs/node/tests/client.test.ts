import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import {
  CancelledError,
  DeadlineExceededError,
  InvalidArgumentError,
  MlxForge,
  type MlxForgeError,
  NotFoundError,
  OutputError,
  tool,
  UnavailableError,
} from "../src/index.js";
import { FinishReason, LoadModelResponse_Stage } from "../src/v1.js";
import { python, type Server, scripted } from "./servers.js";

let server: Server;
let client: MlxForge;

/** The prompt that scripts the server. */
const script = (script: object) => ({ prompt: JSON.stringify(script) });

/** What became of the calls of a group. */
async function report(key: string): Promise<Record<string, number>> {
  return JSON.parse(await client.stream(script({ report: key })).text());
}

/** Waits until a group has as many cancelled calls. */
async function cancelled(key: string, calls: number): Promise<void> {
  await expect.poll(async () => (await report(key)).cancelled).toBe(calls);
}

/** What a call is rejected with. */
async function failureOf(call: Promise<unknown>): Promise<MlxForgeError> {
  return call.then(
    () => expect.fail("the call should have failed"),
    (error) => error,
  );
}

describe.skipIf(!python)("a client over gRPC", () => {
  beforeAll(async () => {
    server = await scripted();
    client = await MlxForge.connect(server.address);
  });

  afterAll(async () => {
    await client.close();
    await server[Symbol.asyncDispose]();
  });

  describe("generating", () => {
    test("a string is a user's message and the answer comes whole", async () => {
      const response = await client.generate("héllo ✓");
      expect(response.choices[0]?.text).toBe("héllo ✓");
      expect(response.choices[0]?.finishReason).toBe(FinishReason.STOP);
      expect(response.model).toBe("scripted");
    });

    test("a stream gives messages, pieces, or the text", async () => {
      const input = script({ text: ["a", "b", "c"] });
      const events = [];
      for await (const message of client.stream(input)) events.push(message.event.case);
      expect(events).toEqual(["delta", "delta", "delta", "finish"]);

      const pieces = [];
      for await (const piece of client.stream(input).text()) pieces.push(piece);
      expect(pieces).toEqual(["a", "b", "c"]);

      expect(await client.stream(input).text()).toBe("abc");
    });

    test("final gives what the unary call gives", async () => {
      const calls = [{ name: "add", arguments: '{"a":1}' }];
      const input = script({ text: ["x", "y"], tool_calls: calls });
      const final = await client.stream(input).final();
      expect(final.id).toBe("req_1");
      expect(final.model).toBe("scripted");
      expect(final.choices).toHaveLength(1);
      expect(final.choices[0]).toMatchObject({
        text: "xy",
        tokenIds: [0, 1],
        toolCalls: [{ id: "call_0", name: "add", arguments: '{"a":1}' }],
        finishReason: FinishReason.TOOL_CALLS,
      });
      expect(final.usage).toMatchObject({ promptTokens: 1, completionTokens: 2 });
      const unary = await client.generate(input);
      expect(unary.choices[0]?.toolCalls).toEqual(final.choices[0]?.toolCalls);
    });

    test("more than one input or constraint is refused before anything is sent", async () => {
      await expect(client.generate({ prompt: "a", messages: [] })).rejects.toThrow(
        "give one input, not prompt and chat",
      );
      expect(() => client.stream({ prompt: "a", regex: "a", choice: ["a"] })).toThrow(TypeError);
    });
  });

  describe("ending early", () => {
    const endless = (key: string) => script({ key, text: Array(1000).fill("x"), delay: 0.01 });

    test("break cancels the call on the server", async () => {
      for await (const _ of client.stream(endless("break"))) break;
      await cancelled("break", 1);
    });

    test("break from the text cancels too", async () => {
      for await (const _ of client.stream(endless("text")).text()) break;
      await cancelled("text", 1);
    });

    test("an abort cancels one call and no other", async () => {
      const abort = new AbortController();
      const other = client.stream(script({ text: Array(20).fill("y"), delay: 0.01 })).text();
      const failed = failureOf(
        (async () => {
          for await (const _ of client.stream(endless("abort"), { signal: abort.signal })) {
            abort.abort();
          }
        })(),
      );
      expect(await failed).toBeInstanceOf(CancelledError);
      expect(await other).toBe("y".repeat(20));
      await cancelled("abort", 1);
    });

    test("a call is not sent when its signal is aborted already", async () => {
      const signal = AbortSignal.abort();
      expect(await failureOf(client.generate(endless("never"), { signal }))).toBeInstanceOf(
        CancelledError,
      );
      expect((await report("never")).started).toBe(0);
    });

    test.each([
      { options: { timeoutMs: 100 } },
      { options: { signal: AbortSignal.timeout(3000) }, lateMs: 3000 },
    ])("a deadline ends the call: $options", async ({ options }) => {
      const error = await failureOf(client.stream(endless("late"), options).final());
      expect(error).toBeInstanceOf(DeadlineExceededError);
      expect(error.code).toBe("DEADLINE_EXCEEDED");
    });

    test("close ends what still runs", async () => {
      const closing = await MlxForge.connect(server.address);
      const failed = failureOf(closing.stream(endless("close")).final());
      await sleep(100);
      await closing.close();
      expect(await failed).toBeInstanceOf(CancelledError);
      await cancelled("close", 1);
    });
  });

  describe("errors", () => {
    test("carry code, reason and fields", async () => {
      const fail = {
        code: "INVALID_ARGUMENT",
        reason: "INVALID_REQUEST",
        message: "sampling_params.top_p: must be above 0",
        fields: { "sampling_params.top_p": "must be above 0" },
      };
      for (const call of [
        () => client.generate(script({ fail })),
        () => client.stream(script({ fail })).final(),
      ]) {
        const error = await failureOf(call());
        expect(error).toBeInstanceOf(InvalidArgumentError);
        expect(error).toMatchObject({
          name: "InvalidArgumentError",
          message: fail.message,
          code: "INVALID_ARGUMENT",
          reason: "INVALID_REQUEST",
          fieldViolations: [{ field: "sampling_params.top_p", description: "must be above 0" }],
        });
      }
    });

    test("in mid-stream come after the text", async () => {
      const pieces: string[] = [];
      const input = script({ key: "mid", fail: { code: "UNAVAILABLE", after: 2, retry_after: 0 } });
      const error = await failureOf(
        (async () => {
          for await (const piece of client.stream(input).text()) pieces.push(piece);
        })(),
      );
      expect(pieces).toEqual(["Hello", ", "]);
      expect(error).toBeInstanceOf(UnavailableError);
      expect((await report("mid")).started).toBe(1);
    });
  });

  describe("retries", () => {
    const flaky = (key: string, times: number, retry_after?: number) =>
      script({ key, fail: { code: "UNAVAILABLE", reason: "MODEL_LOADING", times, retry_after } });

    test("wait as long as the server says", async () => {
      const begin = performance.now();
      const response = await client.generate(flaky("unary", 2, 0.15));
      expect(response.choices[0]?.text).toBe("Hello, world.");
      expect(performance.now() - begin).toBeGreaterThan(295);
      expect((await report("unary")).started).toBe(3);
    });

    test("are made for streams before the first message", async () => {
      expect(await client.stream(flaky("stream", 2, 0.01)).text()).toBe("Hello, world.");
      expect((await report("stream")).started).toBe(3);
    });

    test("back off where the server names no time", async () => {
      expect(await client.stream(flaky("backoff", 1)).text()).toBe("Hello, world.");
    });

    test("end after the tries allowed", async () => {
      const options = { retry: { maxAttempts: 2 } };
      const error = await failureOf(client.generate(flaky("ends", 9, 0.01), options));
      expect(error).toMatchObject({ code: "UNAVAILABLE", retryAfterMs: 10 });
      expect((await report("ends")).started).toBe(2);
      await failureOf(client.generate(flaky("off", 9, 0.01), { retry: false }));
      expect((await report("off")).started).toBe(1);
    });

    test("are not made when the deadline comes first", async () => {
      const begin = performance.now();
      const error = await failureOf(client.generate(flaky("long", 9, 30), { timeoutMs: 500 }));
      expect(error).toBeInstanceOf(UnavailableError);
      expect(performance.now() - begin).toBeLessThan(500);
    });

    test("stop waiting at an abort", async () => {
      const options = { signal: AbortSignal.timeout(100) };
      const error = await failureOf(client.generate(flaky("wait", 9, 30), options));
      expect(error).toBeInstanceOf(DeadlineExceededError);
    });

    test("are not made for other codes", async () => {
      const fail = { code: "RESOURCE_EXHAUSTED", reason: "QUEUE_FULL", retry_after: 0.01 };
      const error = await failureOf(client.generate(script({ key: "full", fail })));
      expect(error).toMatchObject({ code: "RESOURCE_EXHAUSTED", retryAfterMs: 10 });
      expect((await report("full")).started).toBe(1);
    });
  });

  describe("typed JSON", () => {
    const person = z.object({ name: z.string(), born: z.string().transform(Number) });
    const answer = (text: string) => script({ text: [text] });

    test("parses, checks and transforms with a schema object", async () => {
      const value = await client.generateJson(answer('{"name":"Ada","born":"1815"}'), person);
      const born: number = value.born;
      expect([value.name, born]).toEqual(["Ada", 1815]);
    });

    test("sends the schema to the engine", async () => {
      const sent = await client.generateJson<{ type: string }>(script({ constraint: true }), {
        type: "object",
      });
      expect(sent).toEqual({ type: "object" });
      const zod = await client.generateJson(script({ constraint: true }), z.looseObject({}));
      expect(zod).toMatchObject({ type: "object" });
    });

    test("names what does not match", async () => {
      const error = await failureOf(client.generateJson(answer('{"name":7,"born":"1"}'), person));
      expect(error).toBeInstanceOf(OutputError);
      expect(error).toMatchObject({ reason: "SCHEMA_MISMATCH", text: '{"name":7,"born":"1"}' });
      expect(error.message).toContain("/name");
      expect(await failureOf(client.generateJson(answer('{"na'), {}))).toMatchObject({
        reason: "INVALID_JSON",
      });
    });
  });

  describe("tools", () => {
    const add = tool({
      name: "add",
      description: "Adds two numbers.",
      parameters: z.object({ a: z.number(), b: z.number() }),
      execute: ({ a, b }) => ({ sum: a + b }),
    });
    const calling = (name: string, args: string) =>
      JSON.stringify({ text: [], tool_calls: [{ name, arguments: args }] });

    test("are run and answered until the model calls none", async () => {
      const run = await client.runTools({
        messages: [{ role: "user", content: calling("add", '{"a":2,"b":3}') }],
        tools: [add],
      });
      expect(run.rounds).toBe(2);
      expect(run.response.choices[0]?.text).toBe('{"sum":5}');
      expect(run.messages.map(({ role }) => role)).toEqual([
        "user",
        "assistant",
        "tool",
        "assistant",
      ]);
      expect(run.messages[2]).toMatchObject({ toolCallId: "call_0", name: "add" });
    });

    test("tell the model what went wrong", async () => {
      for (const [name, args, error] of [
        ["nothing", "{}", "there is no tool nothing"],
        ["add", '{"a":2}', "/b"],
      ] as const) {
        const run = await client.runTools({
          messages: [{ role: "user", content: calling(name, args) }],
          tools: [add],
          maxRounds: 2,
        });
        expect(run.messages[2]?.content).toContain(error);
      }
    });
  });

  test("embeds one list or many", async () => {
    const { embeddings } = await client.embed(["aei", "xyz!"]);
    expect(embeddings.map(({ values }) => values)).toEqual([
      [3, 3],
      [4, 0],
    ]);
    const sequence = [];
    for await (const response of client.streamEmbed(["a", ["b", "cc"]])) {
      sequence.push([Number(response.sequence), response.embeddings.length]);
    }
    expect(sequence).toEqual([
      [0, 1],
      [1, 2],
    ]);
  });

  test("leaving streamEmbed early ends its input", async () => {
    let given = 0;
    let closed = false;
    async function* corpus() {
      try {
        for (; ; given++) {
          yield `text ${given}`;
          await sleep(5);
        }
      } finally {
        closed = true;
      }
    }
    for await (const { sequence } of client.streamEmbed(corpus())) if (sequence === 2n) break;
    await expect.poll(() => closed).toBe(true);
    expect(given).toBeLessThan(50);
  });

  test("tokenizes and back", async () => {
    const { tokenIds, count } = await client.tokenize("né");
    expect([tokenIds, count]).toEqual([[110, 233], 2]);
    expect(await client.detokenize(tokenIds)).toBe("né");
  });

  test("lists, loads and unloads models", async () => {
    const stages = [];
    for await (const { stage } of client.loadModel("other")) stages.push(stage);
    expect(stages.at(-1)).toBe(LoadModelResponse_Stage.READY);
    expect((await client.models()).map(({ id }) => id)).toEqual(["scripted", "other"]);
    expect((await client.model()).id).toBe("scripted");
    expect(await client.unloadModel("other")).toBe(1n << 40n);
    expect(await failureOf(client.model("other"))).toBeInstanceOf(NotFoundError);
  });
});
