import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../src/grpc.js";
import { MlxForge } from "../src/index.js";
import { python, scripted } from "./servers.js";

const folder = mkdtempSync(join(tmpdir(), "mlxforge-"));

test.each([
  ["localhost", { url: "http://localhost:50051" }],
  ["10.0.0.1:8080", { url: "http://10.0.0.1:8080" }],
  ["[::1]:9000", { url: "http://[::1]:9000" }],
  ["http://host:1", { url: "http://host:1" }],
  ["https://host", { url: "https://host" }],
  ["https://host:1", { url: "https://host:1" }],
  ["unix:/run/m.sock", { url: "http://localhost", socketPath: "/run/m.sock" }],
  ["unix:///run/m.sock", { url: "http://localhost", socketPath: "/run/m.sock" }],
  ["/run/m.sock", { url: "http://localhost", socketPath: "/run/m.sock" }],
])("reads the address %s", (address, endpoint) => {
  expect(parseAddress(address, false)).toEqual(endpoint);
});

test("nobody there is UNAVAILABLE at once", async () => {
  await expect(MlxForge.connect("127.0.0.1:1")).rejects.toMatchObject({
    name: "UnavailableError",
    code: "UNAVAILABLE",
  });
});

describe.skipIf(!python)("connects", () => {
  test("over a Unix domain socket", async () => {
    const address = `unix:${join(folder, "s.sock")}`;
    await using _server = await scripted(address);
    await using client = await MlxForge.connect(address);
    expect(await client.stream("over a socket").text()).toBe("over a socket");
  });

  test("with a token, asked for before each call", async () => {
    await using server = await scripted("--token", "secret");
    let asked = 0;
    const token = async () => (++asked > 1 ? "secret" : "stale");
    await using client = await MlxForge.connect(server.address, { token });
    await expect(client.generate("hi")).rejects.toMatchObject({
      name: "UnauthenticatedError",
      reason: "TOKEN_INVALID",
    });
    expect(await client.stream("hi").text()).toBe("hi");
  });

  test("over TLS, checking the certificate", async () => {
    const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
    const request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    const names = ["-subj", "/CN=forge.test", "-addext", "subjectAltName=DNS:forge.test"];
    const files = ["-keyout", key, "-out", cert];
    execFileSync("openssl", [...request.split(" "), ...names, ...files], { stdio: "ignore" });
    await using server = await scripted("--tls", cert, key);
    const tls = { ca: readFileSync(cert), serverName: "forge.test" };
    await using client = await MlxForge.connect(server.address, { tls });
    expect(await client.stream("secret").text()).toBe("secret");
    await expect(MlxForge.connect(server.address, { tls: true })).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
  });

  test("and sends metadata and a deadline", async () => {
    await using server = await scripted();
    await using client = await MlxForge.connect(server.address, { timeoutMs: 5000 });
    const headers = { "x-tenant": "blue" };
    const input = { prompt: '{"metadata": true}' };
    const sent = JSON.parse(await client.stream(input, { headers }).text());
    expect(sent).toMatchObject({ "x-tenant": "blue" });
  });
});
