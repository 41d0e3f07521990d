import { describe, expect, test } from "vitest";
import { endless, stage } from "../fake-terminal.ts";

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
