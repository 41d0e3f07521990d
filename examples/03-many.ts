// Many images at once, each saved as it ends. One that fails does not stop the others.
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
