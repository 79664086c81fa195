import type { ClientOptions } from "../options.js";

/** Options of `MlxForge.embed`. */
export interface EmbedOptions extends ClientOptions {
  /** Hugging Face ids, folders or `.gguf` files. Default: the engine's default models. */
  model?: string | readonly string[];
  /** Further settings of the engine, by the names that `mlxforge.toml` has. */
  settings?: Readonly<Record<string, unknown>>;
  /** Path of libmlxforge. Default: `MLXFORGE_LIBRARY`, else where `mlxforge config` says it is. */
  library?: string;
}

/** The engine's configuration, as `mlxforge_engine_open` takes it. */
export function configJson({ model, settings }: EmbedOptions): string {
  return JSON.stringify({ ...settings, ...(model === undefined ? {} : { model }) });
}
