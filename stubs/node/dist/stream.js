import { create } from "@bufbuild/protobuf";
import { GenerateChoiceSchema, GenerateResponseSchema, } from "./gen/mlxforge/v1/generation_pb.js";
import { TimingsSchema, UsageSchema } from "./gen/mlxforge/v1/usage_pb.js";
/**
 * An answer while it is generated. The call starts when it is first read.
 *
 * Read it once, in one of three ways: `for await` for the schema's messages,
 * `text()` for the text, `final()` for the whole answer. Leaving a loop early
 * (`break`, `return`, an exception) cancels the call on the server.
 */
export class GenerationStream {
    #messages;
    /** Made by `MlxForge.stream`. */
    constructor(messages) {
        this.#messages = messages;
    }
    [Symbol.asyncIterator]() {
        return this.#messages;
    }
    /**
     * The text of one choice: `for await` it piece by piece, or `await` it whole.
     */
    text(index = 0) {
        return new TextStream(this.#messages, index);
    }
    /** The whole answer, as the unary call gives it. */
    async final() {
        const response = create(GenerateResponseSchema);
        for await (const message of this.#messages)
            gather(response, message);
        return response;
    }
    /** Cancels the call, if it still runs. */
    async cancel() {
        await this.#messages.return();
    }
}
/** The text of one choice: async iterable by pieces, awaitable whole. */
export class TextStream {
    #messages;
    #index;
    /** Made by `GenerationStream.text`. */
    constructor(messages, index) {
        this.#messages = messages;
        this.#index = index;
    }
    async *[Symbol.asyncIterator]() {
        for await (const { index, event } of this.#messages) {
            if (index === this.#index && event.case === "delta" && event.value.text) {
                yield event.value.text;
            }
        }
    }
    // biome-ignore lint/suspicious/noThenProperty: awaiting the text is what it is for
    then(resolve, reject) {
        return this.#whole().then(resolve, reject);
    }
    async #whole() {
        let text = "";
        for await (const piece of this)
            text += piece;
        return text;
    }
}
/** Adds one message of the stream to the answer. */
function gather(response, message) {
    if (message.id)
        response.id = message.id;
    if (message.model)
        response.model = message.model;
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
    }
    else if (event.case === "finish") {
        const { finishReason, matchedStop, usage, timings } = event.value;
        choice.finishReason = finishReason;
        choice.matchedStop = matchedStop;
        addUsage(response, usage);
        addTimings(response, timings);
    }
}
function choiceAt(response, index) {
    for (let next = response.choices.length; next <= index; next++) {
        response.choices.push(create(GenerateChoiceSchema, { index: next }));
    }
    return response.choices[index];
}
/** Completions add up; the prompt, which all choices share, counts once. */
function addUsage(response, usage) {
    if (!usage)
        return;
    response.usage ??= create(UsageSchema);
    const total = response.usage;
    total.promptTokens = Math.max(total.promptTokens, usage.promptTokens);
    total.cachedTokens = Math.max(total.cachedTokens, usage.cachedTokens);
    total.completionTokens += usage.completionTokens;
    total.reasoningTokens += usage.reasoningTokens;
}
/** The answer's first token is the first of any choice, its end that of the last. */
function addTimings(response, timings) {
    if (!timings)
        return;
    const first = response.timings === undefined;
    response.timings ??= create(TimingsSchema, timings);
    if (first)
        return;
    const total = response.timings;
    total.queueSeconds = Math.min(total.queueSeconds, timings.queueSeconds);
    total.timeToFirstTokenSeconds = Math.min(total.timeToFirstTokenSeconds, timings.timeToFirstTokenSeconds);
    total.totalSeconds = Math.max(total.totalSeconds, timings.totalSeconds);
}
//# sourceMappingURL=stream.js.map