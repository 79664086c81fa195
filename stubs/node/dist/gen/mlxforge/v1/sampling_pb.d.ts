import type { GenFile, GenMessage } from "@bufbuild/protobuf/codegenv2";
import type { Message } from "@bufbuild/protobuf";
/**
 * Describes the file mlxforge/v1/sampling.proto.
 */
export declare const file_mlxforge_v1_sampling: GenFile;
/**
 * How a token is chosen from the model's distribution. Every scalar is
 * `optional`, because 0 means something. A field that is not set takes the
 * model's `generation_config.json`, then the default named here.
 *
 * The order is: logit_bias, repetition, presence and frequency penalties,
 * constraint mask, temperature, top_k, top_p, min_p, draw.
 *
 * @generated from message mlxforge.v1.SamplingParams
 */
export type SamplingParams = Message<"mlxforge.v1.SamplingParams"> & {
    /**
     * Divides the logits. 0 = greedy (always the likeliest token).
     * Range 0 to 100. Default: 1.
     *
     * @generated from field: optional double temperature = 1;
     */
    temperature?: number | undefined;
    /**
     * Draw from the smallest set of tokens whose probability reaches top_p.
     * Above 0, up to 1. Default: 1 (off).
     *
     * @generated from field: optional double top_p = 2;
     */
    topP?: number | undefined;
    /**
     * Draw from the top_k likeliest tokens. 0 = off. Default: 0.
     *
     * @generated from field: optional uint32 top_k = 3;
     */
    topK?: number | undefined;
    /**
     * Drop tokens less likely than min_p times the likeliest. 0 to 1. Default: 0.
     *
     * @generated from field: optional double min_p = 4;
     */
    minP?: number | undefined;
    /**
     * Makes the draw repeatable: the same request with the same seed gives the
     * same tokens whatever else is in the batch (for one build and chip).
     * Default: a random one.
     *
     * @generated from field: optional uint64 seed = 5;
     */
    seed?: bigint | undefined;
    /**
     * Divides (multiplies, when negative) the logits of tokens that stand in the
     * prompt or the output. Above 0, up to 100. 1 = off. Default: 1.
     *
     * @generated from field: optional double repetition_penalty = 6;
     */
    repetitionPenalty?: number | undefined;
    /**
     * Subtracted once from the logits of tokens in the output. -2 to 2. Default: 0.
     *
     * @generated from field: optional double presence_penalty = 7;
     */
    presencePenalty?: number | undefined;
    /**
     * Subtracted from the logits of a token for each time it stands in the
     * output. -2 to 2. Default: 0.
     *
     * @generated from field: optional double frequency_penalty = 8;
     */
    frequencyPenalty?: number | undefined;
    /**
     * Token id to a number added to its logit, -100 to 100. At most 1,024
     * entries; ids below the width of the logits.
     *
     * @generated from field: map<uint32, double> logit_bias = 9;
     */
    logitBias: {
        [key: number]: number;
    };
};
/**
 * Describes the message mlxforge.v1.SamplingParams.
 * Use `create(SamplingParamsSchema)` to create a new message.
 */
export declare const SamplingParamsSchema: GenMessage<SamplingParams>;
//# sourceMappingURL=sampling_pb.d.ts.map