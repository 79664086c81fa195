// Talks with a model; what it says is written as it comes. `node chat.js [ADDRESS]`
import { createInterface } from "node:readline/promises";
import { type ChatMessage, MlxForge } from "@mlxforge/client";

const forge = await MlxForge.connect(process.argv[2]);
const messages: ChatMessage[] = [];
const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: "> " });
lines.prompt();
for await (const content of lines) {
  messages.push({ role: "user", content });
  let answer = "";
  const request = { messages, maxTokens: 256, samplingParams: { temperature: 0 } };
  for await (const piece of forge.stream(request).text()) {
    process.stdout.write(piece);
    answer += piece;
  }
  process.stdout.write("\n");
  messages.push({ role: "assistant", content: answer });
  lines.prompt();
}
await forge.close();
