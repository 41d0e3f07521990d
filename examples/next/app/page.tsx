// Next.js: the page. It knows where the proxy is, and no key.
"use client";
import { isLayerDiffuseError, LayerDiffuse } from "layerdiffuse";
import { type FormEvent, useRef, useState } from "react";

/** Made as it is needed: on the server, where Next draws the page first, there is no address to be relative to. */
const newClient = () => new LayerDiffuse({ proxyUrl: "/api/layerdiffuse" });

export default function Page() {
  const [said, setSaid] = useState("");
  const [source, setSource] = useState<string>();
  const underWay = useRef<AbortController>(undefined);

  async function draw(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const prompt = String(new FormData(event.currentTarget).get("prompt"));
    underWay.current?.abort();
    underWay.current = new AbortController();
    const { signal } = underWay.current;
    try {
      const image = await newClient().generate(prompt, {
        signal,
        onProgress: ({ phase, step, steps }) => setSaid(step === undefined ? phase : `step ${step} of ${steps}`),
      });
      setSource(image.dataUrl());
    } catch (error) {
      if (!signal.aborted) setSaid(isLayerDiffuseError(error) ? error.message : "Something went wrong.");
    }
  }

  return (
    <main>
      <form onSubmit={draw}>
        <label>
          Prompt <input name="prompt" required defaultValue="a red apple" />
        </label>
        <button type="submit">Draw</button>
        <button type="button" onClick={() => underWay.current?.abort()}>
          Cancel
        </button>
      </form>
      <output>{said}</output>
      {source && <img src={source} alt="" />}
    </main>
  );
}
