import { create } from "@bufbuild/protobuf";
import {
  type GenerateChoice,
  GenerateChoiceSchema,
  type GenerateResponse,
  GenerateResponseSchema,
  type StreamGenerateResponse,
} from "./gen/mlxforge/v1/generation_pb.js";
import { TimingsSchema, UsageSchema } from "./gen/mlxforge/v1/usage_pb.js";

/**
 * An answer while it is generated. The call starts when it is first read.
 *
 * Read it once, in one of three ways: `for await` for the schema's messages,
 * `text()` for the text, `final()` for the whole answer. Leaving a loop early
 * (`break`, `return`, an exception) cancels the call on the server.
 */
export class GenerationStream implements AsyncIterable<StreamGenerateResponse> {
  readonly #messages: AsyncGenerator<StreamGenerateResponse, void, undefined>;

  /** Made by `MlxForge.stream`. */
  constructor(messages: AsyncGenerator<StreamGenerateResponse, void, undefined>) {
    this.#messages = messages;
  }

  [Symbol.asyncIterator](): AsyncGenerator<StreamGenerateResponse, void, undefined> {
    return this.#messages;
  }

  /**
   * The text of one choice: `for await` it piece by piece, or `await` it whole.
   */
  text(index = 0): TextStream {
    return new TextStream(this.#messages, index);
  }

  /** The whole answer, as the unary call gives it. */
  async final(): Promise<GenerateResponse> {
    const response = create(GenerateResponseSchema);
    for await (const message of this.#messages) gather(response, message);
    return response;
  }

  /** Cancels the call, if it still runs. */
  async cancel(): Promise<void> {
    await this.#messages.return();
  }
}

/** The text of one choice: async iterable by pieces, awaitable whole. */
export class TextStream implements AsyncIterable<string>, PromiseLike<string> {
  readonly #messages: AsyncGenerator<StreamGenerateResponse, void, undefined>;
  readonly #index: number;

  /** Made by `GenerationStream.text`. */
  constructor(messages: AsyncGenerator<StreamGenerateResponse, void, undefined>, index: number) {
    this.#messages = messages;
    this.#index = index;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, undefined> {
    for await (const { index, event } of this.#messages) {
      if (index === this.#index && event.case === "delta" && event.value.text) {
        yield event.value.text;
      }
    }
  }

  // biome-ignore lint/suspicious/noThenProperty: awaiting the text is what it is for
  then<A = string, B = never>(
    resolve?: ((text: string) => A | PromiseLike<A>) | null,
    reject?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): PromiseLike<A | B> {
    return this.#whole().then(resolve, reject);
  }

  async #whole(): Promise<string> {
    let text = "";
    for await (const piece of this) text += piece;
    return text;
  }
}

/** Adds one message of the stream to the answer. */
function gather(response: GenerateResponse, message: StreamGenerateResponse): void {
  if (message.id) response.id = message.id;
  if (message.model) response.model = message.model;
  const choice = choiceAt(response, message.index);
  const { event } = message;
  if (event.case === "delta") {
    const { text, reasoning, toolCalls, tokenIds, logprobs } = event.value;
    choice.text += text;
    choice.reasoning += reasoning;
    choice.tokenIds.push(...tokenIds);
    choice.logprobs.push(...logprobs);
    for (const { index, id, name, arguments: piece } of toolCalls) {
      choice.toolCalls[index] ??= {
        $typeName: "mlxforge.v1.ToolCall",
        id,
        name,
        arguments: "",
      };
      choice.toolCalls[index].arguments += piece;
    }
  } else if (event.case === "finish") {
    const { finishReason, matchedStop, usage, timings } = event.value;
    choice.finishReason = finishReason;
    choice.matchedStop = matchedStop;
    addUsage(response, usage);
    addTimings(response, timings);
  }
}

function choiceAt(response: GenerateResponse, index: number): GenerateChoice {
  for (let next = response.choices.length; next <= index; next++) {
    response.choices.push(create(GenerateChoiceSchema, { index: next }));
  }
  return response.choices[index] as GenerateChoice;
}

/** Completions add up; the prompt, which all choices share, counts once. */
function addUsage(response: GenerateResponse, usage: GenerateResponse["usage"]): void {
  if (!usage) return;
  response.usage ??= create(UsageSchema);
  const total = response.usage;
  total.promptTokens = Math.max(total.promptTokens, usage.promptTokens);
  total.cachedTokens = Math.max(total.cachedTokens, usage.cachedTokens);
  total.completionTokens += usage.completionTokens;
  total.reasoningTokens += usage.reasoningTokens;
}

/** The answer's first token is the first of any choice, its end that of the last. */
function addTimings(response: GenerateResponse, timings: GenerateResponse["timings"]): void {
  if (!timings) return;
  const first = response.timings === undefined;
  response.timings ??= create(TimingsSchema, timings);
  if (first) return;
  const total = response.timings;
  total.queueSeconds = Math.min(total.queueSeconds, timings.queueSeconds);
  total.timeToFirstTokenSeconds = Math.min(
    total.timeToFirstTokenSeconds,
    timings.timeToFirstTokenSeconds,
  );
  total.totalSeconds = Math.max(total.totalSeconds, timings.totalSeconds);
}
