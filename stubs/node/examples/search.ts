// Finds the text that is nearest in meaning. `node search.js [ADDRESS]`
import { MlxForge } from "@mlxforge/client";

const texts = ["A man is eating food.", "The girl is carrying a baby.", "Stocks fell on Monday."];
const forge = await MlxForge.connect(process.argv[2]);
const { embeddings } = await forge.embed([...texts, "Somebody has lunch."]);
const [query = [], ...vectors] = embeddings.map(({ values }) => values).reverse();
const scores = vectors
  .reverse()
  .map((vector) => vector.reduce((sum, value, i) => sum + value * (query[i] ?? 0), 0));
console.log(texts[scores.indexOf(Math.max(...scores))]);
await forge.close();
