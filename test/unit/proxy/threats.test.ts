import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readPage } from "../../helpers/markdown.ts";

const here = fileURLToPath(new URL(".", import.meta.url));

/** By the beginning of each threat, the files that the table names for it, and a test of each, by words of its title. */
const shown: Record<string, Record<string, string>> = {
  "a stranger spends your money": {
    options: "createProxy refuses",
    "jobs/queue-routes": "is asked before the body is read, and before anything goes out",
  },
  "a page elsewhere has a browser submit": {
    "access/cors": "that is another's is refused before anyone is asked whose cookies it comes with",
    "attacks-paths": "may not have %s done",
  },
  "a page elsewhere reads answers": {
    "access/cors": "gets no CORS answer to a read either, unless it is listed",
    "attacks-paths": "reads nothing, an error as little as a picture",
  },
  "a user reads or cancels another's job": {
    "access/job-tokens": "of any id the service could give, for any subject, opens for that subject only",
    "jobs/queue-routes": "takes a job by the endpoint's own id for unknown, though it exists",
  },
  "a user bends a signature": {
    "access/job-tokens": "opens no more with any one character bent, left out or put in",
    "attacks-paths": "is compared by the runtime, once for each secret, wherever the first wrong byte stands",
  },
  "a user has the endpoint, its worker or the proxy call elsewhere": {
    "jobs/queue-routes": "is the input's own fields and the proxy's own policy",
    "attacks-input": "reaches nobody, wherever in the body it stands",
  },
  "a user exceeds their share": {
    "access/caller-limits": "are counted however many are submitted in the same moment",
    "access/caller-limits.property": "a place among the jobs at once",
  },
  "a user asks again and again at a full limit": {
    "access/job-questions": "a caller who hammers has each asked about once in two seconds",
  },
  "a body that is huge or endless": {
    "jobs/queue-routes": "takes a body at the limit, and stops reading one that never ends",
    "node-listener": "lets a caller read why its endless body was refused, then hangs up",
    "attacks-socket": "that never ends is refused as soon as it is too large",
  },
  "a body that drips": {
    "jobs/queue-routes": "gives up on a body that drips",
    "attacks-socket": "costs the others nothing: while a hundred drip, one is served",
  },
  "a body that is small and means much": {
    "jobs/queue-routes": "may be 20 brackets deep, and hold any number of them in a text",
    "attacks-input": "of %s is refused, and nothing goes out",
  },
  "a second request smuggled in the first": {
    "node-listener": "two lengths (request smuggling)",
    "attacks-socket": "in a body that was refused is never read as a request of its own",
  },
  "headers that come twice and differ": {
    "jobs/queue-routes": "whatever a header says of another method",
    "attacks-socket": "(duplicate headers)",
  },
  "a path written otherwise": {
    "jobs/queue-routes": "is one and the same 404 for the job %s",
    "attacks-paths": "with %s in a job's id is no job",
  },
  "`Host`, a forwarded header or a path leads": {
    "jobs/queue-routes": "make no address of the Host that a caller sends",
    "attacks-paths": "is at publicUrl whatever Host, X-Forwarded-Host and Forwarded say",
    "attacks-socket": "%s leads no Location to another host",
  },
  "a file name that leads out of the storage": {
    "jobs/txt2img-routes": "asks the storage for nothing by the name %s",
    "attacks-paths": "with %s in a file's name is no file",
  },
  "something else is put into the storage": {
    "jobs/txt2img-routes": "serves nothing that is no PNG, whoever put it there",
  },
  "a forged or repeated webhook": {
    "jobs/webhook-route": "stores what the endpoint says, never what the call says",
    "attacks-paths": "of a webhook too, before its body is read",
  },
  "key, endpoint, hosts or tracebacks leak": {
    "jobs/upstream-answers": "says neither key nor endpoint nor host nor upstream id, whatever goes wrong upstream",
  },
  "a shared cache hands one user's answer to another": {
    "jobs/queue-routes": "is never cached, and never sniffed",
    "jobs/txt2img-routes": "may be kept for good by its reader alone",
    "attacks-paths": "finds no answer under a name that it takes for a picture or a style sheet",
  },
};

const rows = readPage("docs/security.md")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| who "))
  .map((line) => line.split("|").map((cell) => cell.trim()));

describe("the threat table in docs/security.md", () => {
  it.each(rows.map(([, who = "", how = "", files = ""]) => [who, how, files]))("%s", (who, how, files) => {
    expect(how).not.toBe("");
    const [, tests = {}] = Object.entries(shown).find(([beginning]) => who.startsWith(beginning)) ?? [];
    expect(Object.keys(tests).map((name) => `\`${name}\``)).toEqual(files.split(", "));
    for (const [name, words] of Object.entries(tests)) {
      expect(readFileSync(`${here}${name}.test.ts`, "utf8"), name).toContain(words);
    }
  });

  it("has all that the tests show, and names every file of attacks", () => {
    expect(rows).toHaveLength(Object.keys(shown).length);
    const named = new Set(Object.values(shown).flatMap((tests) => Object.keys(tests)));
    const attacks = readdirSync(here).filter((name) => name.startsWith("attacks-"));
    expect(attacks.filter((name) => !named.has(name.replace(".test.ts", "")))).toEqual([]);
  });
});
