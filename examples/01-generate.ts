// Generate one image and save it to a file.
import { LayerDiffuse } from "layerdiffuse";

const client = new LayerDiffuse(); // RUNPOD_ENDPOINT_ID, RUNPOD_API_KEY from the environment
const image = await client.generate("a red apple, high quality");
await image.save("output.png");

console.log(`output.png: ${image.width}×${image.height}, alpha: ${image.hasAlpha}, seed ${image.seed}`);
