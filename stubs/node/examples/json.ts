// A schema in, a typed value out. `node json.js [ADDRESS]`
import { MlxForge } from "@mlxforge/client";
import { z } from "zod";

const City = z.object({
  name: z.string().max(20),
  country: z.enum(["France", "Italy", "Spain"]),
  million_inhabitants: z.number().int().min(1).max(20),
});

const forge = await MlxForge.connect(process.argv[2]);
const city = await forge.generateJson(
  {
    messages: [{ role: "user", content: "Describe Paris as JSON." }],
    maxTokens: 200,
    samplingParams: { temperature: 0 },
  },
  City,
);
console.log(`${city.name.toUpperCase()} lies in ${city.country}`);
await forge.close();
