import type { ClientOptions } from "../options.js";
/** Options of `MlxForge.embed`. */
export interface EmbedOptions extends ClientOptions {
    /** Hugging Face id, folder or `.gguf` file. Default: the engine's default models. */
    model?: string;
    /** Further settings of the engine, by the names the server's settings have. */
    settings?: Readonly<Record<string, unknown>>;
    /** Path of libmlxforge. Default: `MLXFORGE_LIBRARY`, else what `mlxforge config` says. */
    library?: string;
}
//# sourceMappingURL=options.d.ts.map