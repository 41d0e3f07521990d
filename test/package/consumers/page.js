// A page's script, for bundlers. Whoever loads it calls what it leaves on the global object.
import { isLayerDiffuseError, LayerDiffuse } from "layerdiffuse";

globalThis.generate = async (options) => {
  const client = new LayerDiffuse(options);
  const { width, height, hasAlpha } = await client.generate("a red apple");
  const error = await client.generate(" ").catch((reason) => reason);
  return { width, height, hasAlpha, isKnown: isLayerDiffuseError(error, "invalid_input") };
};
