// A server component that waits for a job. Next.js answers equal reads of one rendering from the first one's answer.
import { LayerDiffuse } from "layerdiffuse";

export const dynamic = "force-dynamic";

const client = new LayerDiffuse();

export default async function Page() {
  const { width, height } = await client.generate("a red apple");
  return (
    <p>
      {width} by {height}
    </p>
  );
}
