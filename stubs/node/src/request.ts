import { create, isMessage, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type ChatSchema,
  type MessageSchema,
  ToolChoice_Mode,
  type ToolChoiceSchema,
  type ToolSchema,
} from "./gen/mlxforge/v1/chat_pb.js";
import {
  type EmbedInput,
  EmbedInputSchema,
  type EmbedRequest,
  EmbedRequestSchema,
} from "./gen/mlxforge/v1/embedding_pb.js";
import { type GenerateRequest, GenerateRequestSchema } from "./gen/mlxforge/v1/generation_pb.js";
import type { SamplingParamsSchema } from "./gen/mlxforge/v1/sampling_pb.js";

/** Fields of a message, without what marks it as one. */
type Fields<T> = Omit<T, "$typeName" | "$unknown">;
type GenerateInit = Exclude<MessageInitShape<typeof GenerateRequestSchema>, GenerateRequest>;
type EmbedInit = Exclude<MessageInitShape<typeof EmbedRequestSchema>, EmbedRequest>;
type SamplingInit = Fields<MessageInitShape<typeof SamplingParamsSchema>>;

/** One turn of a conversation, as a plain object. */
export type ChatMessage = MessageInitShape<typeof MessageSchema>;

/** Which tools are to be called. */
export type ToolChoiceInput = "auto" | "none" | "required" | { name: string };

/**
 * What to generate from, how, and how much: the fields of the schema's
 * `GenerateRequest`, the input and the constraint given by their names.
 */
export interface GenerateParams
  extends Omit<Fields<GenerateInit>, "input" | "constraint" | "samplingParams"> {
  /** Raw text, tokenized as it stands. */
  prompt?: string;
  /** Token ids, used as they are. */
  promptTokenIds?: number[];
  /** A conversation for the model's chat template. */
  messages?: ChatMessage[];
  /** Functions the model may call. With `messages`. */
  tools?: MessageInitShape<typeof ToolSchema>[];
  /** Which of them. With `messages`. */
  toolChoice?: ToolChoiceInput;
  /** A whole `Chat`, instead of `messages`. */
  chat?: MessageInitShape<typeof ChatSchema>;
  /** How tokens are chosen. */
  samplingParams?: Omit<SamplingInit, "seed"> & { seed?: number | bigint };
  /** A JSON Schema that the text must conform to, as an object or as text. */
  jsonSchema?: string | Readonly<Record<string, unknown>>;
  /** The text must be a JSON object. */
  jsonObject?: boolean;
  /** A regular expression for the whole text. */
  regex?: string;
  /** A grammar in llguidance's form of Lark. */
  grammar?: string;
  /** The text must be one of these. */
  choice?: readonly string[];
}

/** A user's message, a conversation, parameters, or a schema message. */
export type GenerateInput = string | readonly ChatMessage[] | GenerateParams | GenerateRequest;

/** Makes the schema's message from any form of the input. */
export function generateRequest(input: GenerateInput): GenerateRequest {
  if (typeof input === "string") return generateRequest([{ role: "user", content: input }]);
  if (isMessages(input)) return generateRequest({ messages: [...input] });
  if (isMessage(input, GenerateRequestSchema)) return input;
  const {
    prompt,
    promptTokenIds,
    messages,
    tools,
    toolChoice,
    chat,
    samplingParams,
    jsonSchema,
    jsonObject,
    regex,
    grammar,
    choice,
    ...fields
  } = input;
  return create(GenerateRequestSchema, {
    ...fields,
    input: oneOf("one input", {
      prompt,
      promptTokenIds: promptTokenIds && { ids: promptTokenIds },
      chat: messages ? { messages, tools, toolChoice: toolChoiceOf(toolChoice) } : chat,
    }) as GenerateInit["input"],
    constraint: oneOf("one constraint", {
      jsonSchema: typeof jsonSchema === "object" ? JSON.stringify(jsonSchema) : jsonSchema,
      jsonObject: jsonObject || undefined,
      regex,
      grammar,
      choice: choice && { values: [...choice] },
    }) as GenerateInit["constraint"],
    samplingParams: samplingParams && {
      ...samplingParams,
      seed: samplingParams.seed === undefined ? undefined : BigInt(samplingParams.seed),
    },
  });
}

/** A text, texts, inputs of the schema, or its whole message. */
export type EmbedParams =
  | string
  | readonly string[]
  | (Omit<Fields<EmbedInit>, "inputs"> & {
      inputs: readonly (string | MessageInitShape<typeof EmbedInputSchema>)[];
    })
  | EmbedRequest;

/** Makes the schema's message from any form of the input. */
export function embedRequest(input: EmbedParams): EmbedRequest {
  if (typeof input === "string") return embedRequest([input]);
  if (Array.isArray(input)) return embedRequest({ inputs: input });
  const params = input as Exclude<typeof input, string | readonly string[]>;
  if (isMessage(params, EmbedRequestSchema)) return params;
  return create(EmbedRequestSchema, {
    ...params,
    inputs: params.inputs.map((each) => embedInput(each)),
  });
}

function embedInput(input: string | MessageInitShape<typeof EmbedInputSchema>): EmbedInput {
  const init = typeof input === "string" ? textInput(input) : input;
  return create(EmbedInputSchema, init);
}

function textInput(value: string): MessageInitShape<typeof EmbedInputSchema> {
  return { input: { case: "text", value } };
}

/** The schema's choice of tools. */
function toolChoiceOf(
  choice: ToolChoiceInput | undefined,
): MessageInitShape<typeof ToolChoiceSchema> | undefined {
  if (choice === undefined) return undefined;
  if (typeof choice === "object") return { choice: { case: "name", value: choice.name } };
  const mode = { auto: "AUTO", none: "NONE", required: "REQUIRED" } as const;
  return { choice: { case: "mode", value: ToolChoice_Mode[mode[choice]] } };
}

/** The one member that is set, as protobuf-es spells a oneof. */
function oneOf(what: string, members: Record<string, unknown>) {
  const set = Object.entries(members).filter(([, value]) => value !== undefined);
  if (set.length > 1) {
    throw new TypeError(`give ${what}, not ${set.map(([name]) => name).join(" and ")}`);
  }
  const [member] = set;
  return member ? { case: member[0], value: member[1] } : { case: undefined };
}

function isMessages(input: GenerateInput): input is readonly ChatMessage[] {
  return Array.isArray(input);
}
