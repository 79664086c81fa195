import { Code, ConnectError } from "@connectrpc/connect";
/** Opens an engine in this process. */
export async function openEmbedded(_options) {
    throw new ConnectError("libmlxforge is not supported yet", Code.Unimplemented);
}
//# sourceMappingURL=transport.js.map