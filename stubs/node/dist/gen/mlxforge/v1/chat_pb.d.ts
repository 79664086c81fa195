import type { GenEnum, GenFile, GenMessage } from "@bufbuild/protobuf/codegenv2";
import type { JsonObject, Message as Message$1 } from "@bufbuild/protobuf";
/**
 * Describes the file mlxforge/v1/chat.proto.
 */
export declare const file_mlxforge_v1_chat: GenFile;
/**
 * A conversation, rendered into a prompt by the model's own chat template.
 *
 * @generated from message mlxforge.v1.Chat
 */
export type Chat = Message$1<"mlxforge.v1.Chat"> & {
    /**
     * The turns, oldest first. At least one. The template decides which orders of
     * roles it takes; one it refuses is INVALID_ARGUMENT.
     *
     * @generated from field: repeated mlxforge.v1.Message messages = 1;
     */
    messages: Message[];
    /**
     * Functions the model may call. At most 128. Models whose template knows no
     * tools answer FAILED_PRECONDITION.
     *
     * @generated from field: repeated mlxforge.v1.Tool tools = 2;
     */
    tools: Tool[];
    /**
     * Whether, and which, tools are to be called. Default: AUTO when there are
     * tools, NONE otherwise.
     *
     * @generated from field: mlxforge.v1.ToolChoice tool_choice = 3;
     */
    toolChoice?: ToolChoice | undefined;
    /**
     * Arguments for the chat template (for example `enable_thinking`). Names that
     * the engine sets itself (`messages`, `tools`, `add_generation_prompt`, …)
     * and names of templates are refused.
     *
     * @generated from field: google.protobuf.Struct template_kwargs = 4;
     */
    templateKwargs?: JsonObject | undefined;
    /**
     * Whether the template opens the assistant's turn after the last message.
     * Default: true. Set to false to have the model continue the last message.
     *
     * @generated from field: optional bool add_generation_prompt = 5;
     */
    addGenerationPrompt?: boolean | undefined;
};
/**
 * Describes the message mlxforge.v1.Chat.
 * Use `create(ChatSchema)` to create a new message.
 */
export declare const ChatSchema: GenMessage<Chat>;
/**
 * One turn of a conversation.
 *
 * @generated from message mlxforge.v1.Message
 */
export type Message = Message$1<"mlxforge.v1.Message"> & {
    /**
     * `system`, `user`, `assistant`, `tool`, or `developer` (taken as `system`
     * by templates that do not know it). Required.
     *
     * @generated from field: string role = 1;
     */
    role: string;
    /**
     * The text. Special tokens spelled in it stay plain characters. May be empty
     * for an assistant's turn that only calls tools.
     *
     * @generated from field: string content = 2;
     */
    content: string;
    /**
     * Name of the speaker, for templates that print one. Optional.
     *
     * @generated from field: string name = 3;
     */
    name: string;
    /**
     * The calls an assistant's turn made. Only for the role `assistant`.
     *
     * @generated from field: repeated mlxforge.v1.ToolCall tool_calls = 4;
     */
    toolCalls: ToolCall[];
    /**
     * The call that a `tool` turn answers. Only for the role `tool`.
     *
     * @generated from field: string tool_call_id = 5;
     */
    toolCallId: string;
    /**
     * What the model thought before an assistant's turn, for templates that take
     * it back. Only for the role `assistant`.
     *
     * @generated from field: string reasoning = 6;
     */
    reasoning: string;
};
/**
 * Describes the message mlxforge.v1.Message.
 * Use `create(MessageSchema)` to create a new message.
 */
export declare const MessageSchema: GenMessage<Message>;
/**
 * A function that the model may call.
 *
 * @generated from message mlxforge.v1.Tool
 */
export type Tool = Message$1<"mlxforge.v1.Tool"> & {
    /**
     * 1 to 64 of the characters a-z, A-Z, 0-9, `_` and `-`. Unique in a request.
     *
     * @generated from field: string name = 1;
     */
    name: string;
    /**
     * What the function does, for the model to read.
     *
     * @generated from field: string description = 2;
     */
    description: string;
    /**
     * JSON Schema (Draft 2020-12) of the arguments, an object, as JSON text, so
     * that the order of its properties is kept. Empty: no arguments.
     *
     * @generated from field: string parameters = 3;
     */
    parameters: string;
};
/**
 * Describes the message mlxforge.v1.Tool.
 * Use `create(ToolSchema)` to create a new message.
 */
export declare const ToolSchema: GenMessage<Tool>;
/**
 * Which tools are to be called.
 *
 * @generated from message mlxforge.v1.ToolChoice
 */
export type ToolChoice = Message$1<"mlxforge.v1.ToolChoice"> & {
    /**
     * One of a mode or a function's name.
     *
     * @generated from oneof mlxforge.v1.ToolChoice.choice
     */
    choice: {
        /**
         * The mode.
         *
         * @generated from field: mlxforge.v1.ToolChoice.Mode mode = 1;
         */
        value: ToolChoice_Mode;
        case: "mode";
    } | {
        /**
         * Name of the one tool that must be called, its arguments constrained.
         *
         * @generated from field: string name = 2;
         */
        value: string;
        case: "name";
    } | {
        case: undefined;
        value?: undefined;
    };
};
/**
 * Describes the message mlxforge.v1.ToolChoice.
 * Use `create(ToolChoiceSchema)` to create a new message.
 */
export declare const ToolChoiceSchema: GenMessage<ToolChoice>;
/**
 * How the model chooses.
 *
 * @generated from enum mlxforge.v1.ToolChoice.Mode
 */
export declare enum ToolChoice_Mode {
    /**
     * As AUTO when the chat has tools, as NONE when it has none.
     *
     * @generated from enum value: MODE_UNSPECIFIED = 0;
     */
    UNSPECIFIED = 0,
    /**
     * The model decides.
     *
     * @generated from enum value: MODE_AUTO = 1;
     */
    AUTO = 1,
    /**
     * No calls; the template does not see the tools.
     *
     * @generated from enum value: MODE_NONE = 2;
     */
    NONE = 2,
    /**
     * At least one call of any tool, its arguments constrained by its schema.
     *
     * @generated from enum value: MODE_REQUIRED = 3;
     */
    REQUIRED = 3
}
/**
 * Describes the enum mlxforge.v1.ToolChoice.Mode.
 */
export declare const ToolChoice_ModeSchema: GenEnum<ToolChoice_Mode>;
/**
 * A call the model made, whole.
 *
 * @generated from message mlxforge.v1.ToolCall
 */
export type ToolCall = Message$1<"mlxforge.v1.ToolCall"> & {
    /**
     * Made by the server, unique within the response: `call_` and 24 characters.
     *
     * @generated from field: string id = 1;
     */
    id: string;
    /**
     * Name of the function.
     *
     * @generated from field: string name = 2;
     */
    name: string;
    /**
     * The arguments, a JSON object as text.
     *
     * @generated from field: string arguments = 3;
     */
    arguments: string;
};
/**
 * Describes the message mlxforge.v1.ToolCall.
 * Use `create(ToolCallSchema)` to create a new message.
 */
export declare const ToolCallSchema: GenMessage<ToolCall>;
/**
 * A piece of a call while it is streamed: the first piece of a call has its
 * `id` and `name`, all have the next characters of `arguments`.
 *
 * @generated from message mlxforge.v1.ToolCallDelta
 */
export type ToolCallDelta = Message$1<"mlxforge.v1.ToolCallDelta"> & {
    /**
     * Position of the call among the calls of its choice, from 0.
     *
     * @generated from field: uint32 index = 1;
     */
    index: number;
    /**
     * Id of the call. In the first piece only.
     *
     * @generated from field: string id = 2;
     */
    id: string;
    /**
     * Name of the function. In the first piece only.
     *
     * @generated from field: string name = 3;
     */
    name: string;
    /**
     * Further characters of the arguments' JSON text.
     *
     * @generated from field: string arguments = 4;
     */
    arguments: string;
};
/**
 * Describes the message mlxforge.v1.ToolCallDelta.
 * Use `create(ToolCallDeltaSchema)` to create a new message.
 */
export declare const ToolCallDeltaSchema: GenMessage<ToolCallDelta>;
//# sourceMappingURL=chat_pb.d.ts.map