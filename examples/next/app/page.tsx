// Next.js: the page. It knows the proxy's address, but no key.
"use client";
import { isLayerDiffuseError, LayerDiffuse } from "layerdiffuse";
import { type FormEvent, useRef, useState } from "react";

const client = new LayerDiffuse({ proxyUrl: "/api/layerdiffuse" });

export default function Page() {
  const [said, setSaid] = useState("");
  const [source, setSource] = useState<string>();
  const underWay = useRef<AbortController>(undefined);

  async function generate(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const prompt = String(new FormData(event.currentTarget).get("prompt"));
    underWay.current?.abort();
    underWay.current = new AbortController();
    const { signal } = underWay.current;
    try {
      const image = await client.generate(prompt, {
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
      <form onSubmit={generate}>
        <label>
          Prompt <input name="prompt" required defaultValue="a red apple" />
        </label>
        <button type="submit">Generate</button>
        <button type="button" onClick={() => underWay.current?.abort()}>
          Cancel
        </button>
      </form>
      <output>{said}</output>
      {source && <img src={source} alt="" />}
    </main>
  );
}
