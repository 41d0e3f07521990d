import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** One begin of a job by a worker. */
export interface Execution {
  readonly n: number;
  readonly jobId: string;
  readonly workerId: string;
}

/** What `workers/ledger.py` notes: a file, since a worker that is killed tells nothing any more. */
export class Ledger {
  readonly #folder = mkdtempSync(join(tmpdir(), "layerdiffuse-bench-"));
  readonly path = join(this.#folder, "ledger");

  constructor() {
    writeFileSync(this.path, "");
  }

  /** In the order of their begin. */
  read(): Execution[] {
    const lines = readFileSync(this.path, "utf8").split("\n").slice(0, -1);
    return lines.map((line) => {
      const [n, jobId = "", workerId = ""] = line.split(" ");
      return { n: Number(n), jobId, workerId };
    });
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }
}
