// Generate several images at once and save each when it is done. If one fails, the others go on.
import { LayerDiffuse } from "layerdiffuse";

const client = new LayerDiffuse();
const prompts = ["a red apple", "a yellow banana", "a bunch of grapes"];

for await (const { index, input, image, error } of client.generateMany(prompts, { concurrency: 2 })) {
  if (image) {
    await image.save(`${index}.png`);
    console.log(`${index}.png: ${input}`);
  } else {
    console.log(`failed: ${input}: ${error}`);
  }
}
