export { MlxForge } from "./client.js";
export * from "./errors.js";
export { GenerationStream, TextStream } from "./stream.js";
export { tool } from "./tools.js";
//# sourceMappingURL=index.js.map