// Many streams at once from one process: `node bench/streams.js grpc|embedded ADDRESS|CONFIG
// MODEL STREAMS TOKENS`. Prints one line of JSON.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { MlxForge } from "@mlxforge/client";

const [door, argument = "", model = "", streams = "500", tokens = "32"] = process.argv.slice(2);
const forge =
  door === "grpc"
    ? await MlxForge.connect(argument)
    : await MlxForge.embed({ settings: JSON.parse(argument) });
const request = { model, prompt: "one two three", maxTokens: Number(tokens), ignoreEos: true };
await forge.generate({ ...request, maxTokens: 1 });

const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
const begin = performance.now();
const answers = await Promise.all(
  Array.from({ length: Number(streams) }, () => forge.stream(request).final()),
);
const seconds = (performance.now() - begin) / 1000;
delay.disable();

const completed = answers.filter(({ usage }) => usage?.completionTokens === Number(tokens)).length;
console.log(
  JSON.stringify({
    client: "node",
    completed,
    tokens_per_second: Math.round((completed * Number(tokens)) / seconds),
    // What a timer of 1 ms is late; its own millisecond is not the load's.
    loop_delay_p99_ms: Number((delay.percentile(99) / 1e6 - 1).toFixed(1)),
  }),
);
await forge.close();
