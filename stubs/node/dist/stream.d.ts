import { type GenerateResponse, type StreamGenerateResponse } from "./gen/mlxforge/v1/generation_pb.js";
/**
 * An answer while it is generated. The call starts when it is first read.
 *
 * Read it once, in one of three ways: `for await` for the schema's messages,
 * `text()` for the text, `final()` for the whole answer. Leaving a loop early
 * (`break`, `return`, an exception) cancels the call on the server.
 */
export declare class GenerationStream implements AsyncIterable<StreamGenerateResponse> {
    #private;
    /** Made by `MlxForge.stream`. */
    constructor(messages: AsyncGenerator<StreamGenerateResponse, void, undefined>);
    [Symbol.asyncIterator](): AsyncGenerator<StreamGenerateResponse, void, undefined>;
    /**
     * The text of one choice: `for await` it piece by piece, or `await` it whole.
     */
    text(index?: number): TextStream;
    /** The whole answer, as the unary call gives it. */
    final(): Promise<GenerateResponse>;
    /** Cancels the call, if it still runs. */
    cancel(): Promise<void>;
}
/** The text of one choice: async iterable by pieces, awaitable whole. */
export declare class TextStream implements AsyncIterable<string>, PromiseLike<string> {
    #private;
    /** Made by `GenerationStream.text`. */
    constructor(messages: AsyncGenerator<StreamGenerateResponse, void, undefined>, index: number);
    [Symbol.asyncIterator](): AsyncGenerator<string, void, undefined>;
    then<A = string, B = never>(resolve?: ((text: string) => A | PromiseLike<A>) | null, reject?: ((error: unknown) => B | PromiseLike<B>) | null): PromiseLike<A | B>;
}
//# sourceMappingURL=stream.d.ts.map