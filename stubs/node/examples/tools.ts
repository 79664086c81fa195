// Functions the model may call. It takes a model whose template knows tools.
// `node tools.js [ADDRESS] [QUESTION]`
import { MlxForge, tool } from "@mlxforge/client";
import { z } from "zod";

const weather = tool({
  name: "weather",
  description: "Today's weather in a city.",
  parameters: z.object({ city: z.string() }),
  execute: ({ city }) => ({ city, celsius: 21, sky: "clear" }),
});

const [address, question = "What is the weather in Paris?"] = process.argv.slice(2);
const forge = await MlxForge.connect(address);
const { response, rounds } = await forge.runTools({
  messages: [{ role: "user", content: question }],
  tools: [weather],
});
console.log(`after ${rounds} rounds: ${response.choices[0]?.text}`);
await forge.close();
