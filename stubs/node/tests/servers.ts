import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { MlxForge } from "../src/index.js";

const root = new URL("../../../", import.meta.url);

/** A server that runs for the time of some tests. */
export interface Server extends AsyncDisposable {
  readonly address: string;
  readonly process: ChildProcess;
}

/** The Python that has mlxforge: `MLXFORGE_PYTHON`, else the checkout's environment. */
export const python = found(process.env.MLXFORGE_PYTHON, ".venv/bin/python");

/** The server's command: `MLXFORGE_BIN`, else the checkout's environment. */
export const mlxforge = found(process.env.MLXFORGE_BIN, ".venv/bin/mlxforge");

/** libmlxforge: `MLXFORGE_LIBRARY`, else that of the package. */
export const library = found(process.env.MLXFORGE_LIBRARY, libraryInCheckout());

/** Starts the server that does what the prompts say. */
export async function scripted(...args: string[]): Promise<Server> {
  if (!python) throw new Error("no Python with mlxforge: set MLXFORGE_PYTHON or run make setup");
  const script = fileURLToPath(new URL("tests/conformance/scripted_server.py", root));
  const child = spawn(python, [script, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  for await (const address of createInterface(child.stdout)) return server(address, child);
  throw new Error("the scripted server did not start");
}

/** Starts the real server with its default models. */
export async function real(...args: string[]): Promise<Server> {
  if (!mlxforge) throw new Error("no mlxforge command: set MLXFORGE_BIN or run make setup");
  const port = await freePort();
  const started = server(
    `127.0.0.1:${port}`,
    spawn(mlxforge, ["serve", "--address", `127.0.0.1:${port}`, "--log-level", "error", ...args], {
      stdio: ["ignore", "ignore", "inherit"],
    }),
  );
  const ended = new Promise<never>((_, reject) => {
    started.process.once("exit", (code) => reject(new Error(`mlxforge serve ended with ${code}`)));
  });
  await Promise.race([ready(started.address), ended]);
  return started;
}

/** Resolves when the server's default model answers. */
async function ready(address: string): Promise<void> {
  for (;;) {
    try {
      await using client = await MlxForge.connect(address, { retry: false });
      await client.tokenize("ready?");
      return;
    } catch {
      await sleep(200);
    }
  }
}

function server(address: string, child: ChildProcess): Server {
  return {
    address,
    process: child,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await ended;
    },
  };
}

function found(named: string | undefined, inCheckout: string): string | undefined {
  const path = named ?? (inCheckout && fileURLToPath(new URL(inCheckout, root)));
  return path && (named || existsSync(path)) ? path : undefined;
}

/** Where the package's Python has it. */
function libraryInCheckout(): string {
  if (!python) return "";
  const script = "import mlxforge; print(*mlxforge.__path__, sep='\\n')";
  const { stdout } = spawnSync(python, ["-c", script], { encoding: "utf8" });
  const name = process.platform === "darwin" ? "libmlxforge.dylib" : "libmlxforge.so";
  const paths = (stdout ?? "")
    .trim()
    .split("\n")
    .map((folder) => join(folder, "lib", name));
  return paths.find((path) => existsSync(path)) ?? "";
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => probe.once("listening", resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}
