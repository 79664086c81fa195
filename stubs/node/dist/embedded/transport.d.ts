import type { OpenTransport } from "../grpc.js";
import type { EmbedOptions } from "./options.js";
/** Opens an engine in this process. */
export declare function openEmbedded(options: EmbedOptions): Promise<OpenTransport>;
//# sourceMappingURL=transport.d.ts.map