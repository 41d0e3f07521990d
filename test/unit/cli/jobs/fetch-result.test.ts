import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { endless, png, stage } from "../fake-terminal.ts";

describe("layerdiffuse result", () => {
  test("fetches the image of a job that another process made", async () => {
    const { finish, endpoint, folder } = await stage();
    await finish(["generate", "an apple"]);
    const id = String(endpoint.jobs()[0]?.id);
    const { code, stdout } = await finish(["result", id, "-o", "again.png"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "again.png\n" });
    expect(await readFile(join(folder, "again.png"))).toEqual(png);
  });

  test("waits for a job that still runs; Ctrl-C stops the waiting, not the job", async () => {
    const { start, finish, endpoint, env } = await stage({ worker: endless });
    const submitted = await fetch(`${env["RUNPOD_BASE_URL"]}/local/run`, {
      method: "POST",
      headers: { authorization: "Bearer local", "content-type": "application/json" },
      body: '{"input":{"prompt":"a"}}',
    });
    const { id } = (await submitted.json()) as { id: string };
    const { stderr, code, interrupt } = start(["result", id]);
    await stderr.until(/running/);
    interrupt();
    expect(await code).toBe(130);
    expect(stderr.text).toContain(`Job ${id} is still running. To wait for it: layerdiffuse result ${id}`);
    expect(endpoint.jobs()[0]?.status).toBe("IN_PROGRESS");
    const late = await finish(["result", id, "--timeout", "0.05"]);
    expect(late.code).toBe(17);
    expect(late.stderr).toContain(`Job ${id} is still running.`);
    expect(endpoint.jobs()[0]?.status).toBe("IN_PROGRESS");
  });

  test("of a job that is gone exits with 14", async () => {
    const { finish } = await stage();
    expect((await finish(["result", "no-such-job"])).code).toBe(14);
  });
});
