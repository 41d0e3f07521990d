import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { endless, png, stage } from "./fake-terminal.ts";

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

describe("layerdiffuse cancel", () => {
  test("stops a job and prints its state", async () => {
    const { start, finish, endpoint } = await stage({ worker: endless });
    const { stderr, code } = start(["generate", "an apple"]);
    await stderr.until(/ · job /);
    const id = String(endpoint.jobs()[0]?.id);
    expect(await finish(["cancel", id])).toEqual({ code: 0, stdout: "CANCELLED\n", stderr: "" });
    expect(await code).toBe(12);
  });

  test("of a job that completed tells how to fetch its image", async () => {
    const { finish, endpoint } = await stage();
    await finish(["generate", "an apple"]);
    const id = endpoint.jobs()[0]?.id;
    const { stdout, stderr } = await finish(["cancel", String(id), "--json"]);
    expect(JSON.parse(stdout)).toEqual({ jobId: id, status: "COMPLETED" });
    expect(stderr).toContain(`layerdiffuse result ${id}`);
  });

  test("of what is no job id is refused before anything is sent", async () => {
    const { finish, endpoint } = await stage();
    expect((await finish(["cancel", "../run"])).code).toBe(2);
    expect(endpoint.requests).toEqual([]);
  });
});

describe("layerdiffuse health", () => {
  test("prints workers and jobs for people", async () => {
    const { finish } = await stage();
    const { code, stdout } = await finish(["health"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^workers {2}\d+ idle, .*\njobs {5}0 in the queue, .*\n$/);
  });

  test("prints JSON for programs", async () => {
    const { finish } = await stage();
    const { stdout } = await finish(["health", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ workers: { running: 0 }, jobs: { inQueue: 0 } });
  });
});
