// Ways to end a call early, and what an error says. `node deadline.js [ADDRESS]`
import { DeadlineExceededError, InvalidArgumentError, MlxForge } from "@mlxforge/client";

const forge = await MlxForge.connect(process.argv[2]);
const essay = { prompt: "Once upon a time", maxTokens: 2000, ignoreEos: true };

for await (const _ of forge.stream(essay).text()) break; // cancels the call on the server

try {
  await forge.generate(essay, { timeoutMs: 500 });
} catch (error) {
  if (!(error instanceof DeadlineExceededError)) throw error;
  console.log("too late");
}
try {
  await forge.generate({ ...essay, samplingParams: { topP: 7 } });
} catch (error) {
  if (!(error instanceof InvalidArgumentError)) throw error;
  for (const { field, description } of error.fieldViolations) console.log(field, description);
}
await forge.close();
