import { describe, expect, it } from "vitest";
import { toNodeListener, toRouteHandlers } from "../../../src/proxy/index.ts";
import * as onNode from "../../../src/proxy/node.ts";
import { proxyStage } from "../../helpers/proxy.ts";

describe("toRouteHandlers", () => {
  it("gives Next.js a function for each method that the proxy has, and ignores the context that Next.js passes", async () => {
    const { handler, drive } = await proxyStage();
    const handlers = toRouteHandlers(handler);
    expect(Object.keys(handlers).sort()).toEqual(["GET", "HEAD", "OPTIONS", "POST"]);
    const { GET, OPTIONS }: Record<string, (request: Request, context: object) => Promise<Response>> = { ...handlers };
    const context = { params: Promise.resolve({ path: ["health"] }) };
    const headers = { "x-user": "alice" };
    const health = await drive(GET?.(new Request("https://app.test/api/health", { headers }), context));
    const preflight = await drive(OPTIONS?.(new Request("https://app.test/api/run", { method: "OPTIONS" }), context));
    expect([health?.status, preflight?.status]).toEqual([200, 204]);
  });
});

describe("the entry for places without Node", () => {
  it("has what the one for Node has, and says of the listener what to do", () => {
    expect(() => toNodeListener(async () => new Response())).toThrow(/build for Node: give your bundler the condition/);
    expect(onNode.toNodeListener).not.toBe(toNodeListener);
    expect(onNode.toRouteHandlers).toBe(toRouteHandlers);
  });
});
