import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { stage } from "../fake-terminal.ts";

const argv = ["generate", "--batch", "prompts.txt", "-o", "images"];

describe("--dry-run", () => {
  test("needs no key, sends nothing and writes nothing", async () => {
    const here = await stage();
    await writeFile(join(here.folder, "prompts.txt"), "one\ntwo\n");
    const { code, stdout, stderr } = await here.finish([...argv, "--dry-run"], { env: {} });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe(
      "2 prompts in prompts.txt: 0 there already, 2 to submit\n" +
        "cost: unknown; pass --price-per-second to estimate it. Cold starts are billed on top.\n" +
        "This was a dry run: nothing was sent or written.\n",
    );
    expect(here.endpoint.requests).toEqual([]);
    expect(await readdir(here.folder)).toEqual(["prompts.txt"]);
  });

  test("tells what is there, and what the rest may cost by the images so far", async () => {
    const here = await stage();
    const edit = (body: unknown) =>
      JSON.stringify(body).includes("COMPLETED") ? { ...(body as object), executionTime: 8123 } : body;
    here.endpoint.faults.add({ operation: ["status", "status-sync"], edit, times: Number.POSITIVE_INFINITY });
    await writeFile(join(here.folder, "prompts.txt"), "one\n");
    await here.finish(argv);
    await writeFile(join(here.folder, "prompts.txt"), "one\ntwo\nthree\n");
    const dry = [...argv, "--dry-run", "--price-per-second", "0.00031", "--timeout", "100"];
    const { stdout } = await here.finish(dry);
    expect(stdout).toContain("3 prompts in prompts.txt: 1 there already, 2 to submit\n");
    expect(stdout).toContain(
      "cost: about $0.00503626 (2 × 8.1 s, the mean of 1 image in the manifest); at most $0.062 (2 × 1 min 40 s, --timeout).",
    );
    const json = await here.finish([...dry, "--json"]);
    expect(JSON.parse(json.stdout)).toEqual({
      ...{ dryRun: true, prompts: 3, there: 1, takeUp: 0, doubtful: 0, submit: 2 },
      ...{ executionTime: 8123, samples: 1, cost: expect.closeTo(0.00503626, 10), mostCost: expect.closeTo(0.062, 10) },
    });
    expect(here.endpoint.jobs()).toHaveLength(1);
  });

  test("tells of jobs to take up and of doubts", async () => {
    const here = await stage({ coldStart: 600_000 });
    await writeFile(join(here.folder, "prompts.txt"), "one\ntwo\nthree\n");
    here.endpoint.faults.add({ operation: "run", reset: true, when: "after" });
    here.endpoint.faults.add({ operation: "cancel", respond: { status: 401 }, times: 2 });
    await here.finish([...argv, "--queue-timeout", "1", "--concurrency", "1"]);
    const { stdout } = await here.finish([...argv, "--dry-run"]);
    expect(stdout).toContain("3 prompts in prompts.txt: 0 there already, 0 to submit\n");
    expect(stdout).toContain("2 jobs of an earlier run to take up, without another submission\n");
    expect(stdout).toContain("1 in doubt: a job may exist. Not submitted again without --resubmit-unknown\n");
    expect(stdout).toContain("cost: nothing, because there is nothing to submit\n");
    const all = await here.finish([...argv, "--dry-run", "--resubmit-unknown"]);
    expect(all.stdout).toContain("0 there already, 1 to submit");
  });

  test("refuses a wrong list as the batch itself does", async () => {
    const here = await stage();
    await writeFile(join(here.folder, "prompts.txt"), '{"promt": "typo"}\n');
    const { code, stderr } = await here.finish([...argv, "--dry-run"]);
    expect(code).toBe(2);
    expect(stderr).toContain("did you mean prompt?");
  });

  test.each(["--dry-run", "--resubmit-unknown"])("%s goes with --batch", async (flag) => {
    const here = await stage();
    const { code, stderr } = await here.finish(["generate", "a", flag]);
    expect(code).toBe(2);
    expect(stderr).toContain(`${flag} goes with --batch.`);
  });
});
