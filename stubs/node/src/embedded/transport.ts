import { Code, ConnectError } from "@connectrpc/connect";
import type { OpenTransport } from "../grpc.js";
import type { EmbedOptions } from "./options.js";

/** Opens an engine in this process. */
export async function openEmbedded(_options: EmbedOptions): Promise<OpenTransport> {
  throw new ConnectError("libmlxforge is not supported yet", Code.Unimplemented);
}
