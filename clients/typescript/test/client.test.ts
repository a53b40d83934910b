import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient, type Memory, type Problem } from "../src/index.js";

function environment(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} is not set: run this by scripts/with-refold.mjs`);
  return value;
}

const baseUrl = environment("TEST_URL");
const client = createClient({ baseUrl, token: environment("TEST_TOKEN") });

/** added adds a memory and waits until the rows have it. */
async function added(content: string, category: string): Promise<Memory> {
  const { data, error, response } = await client.POST("/v1/memories", {
    params: { header: { Prefer: "wait=20" } },
    body: { content, app: "typescript", categories: [category], metadata: { of: category } },
  });
  assert.equal(response.status, 201, JSON.stringify(error));
  assert.ok(data);
  return data;
}

function tag(response: Response): string {
  const etag = response.headers.get("ETag");
  assert.ok(etag);
  return etag;
}

function refused(error: Problem | undefined, code: string, status: number): Problem {
  assert.ok(error, `want the problem ${code}`);
  assert.deepEqual([error.code, error.status], [code, status]);
  return error;
}

test("a memory is added, read, and not read again when it is the same", async () => {
  const memory = await added("likes tea", "reads");
  assert.deepEqual([memory.content, memory.state, memory.categories, memory.app?.name], ["likes tea", "active", ["reads"], "typescript"]);
  const path = { id: memory.id };
  const first = await client.GET("/v1/memories/{id}", { params: { path } });
  assert.deepEqual(first.data, memory);
  const again = await client.GET("/v1/memories/{id}", { params: { path, header: { "If-None-Match": tag(first.response) } } });
  assert.equal(again.response.status, 304);
});

test("a command is carried out once however often it is sent", async () => {
  const send = () =>
    client.POST("/v1/memories", { params: { header: { "Idempotency-Key": "typescript/1" } }, body: { content: "only once" } });
  const [one, two] = [await send(), await send()];
  assert.ok(one.data && two.data);
  assert.equal(one.data.id, two.data.id);
});

test("pages follow each other", async () => {
  const want = [];
  for (const n of [1, 2, 3, 4, 5]) {
    want.unshift((await added(`page ${n}`, "pages")).id);
  }
  const got: string[] = [];
  let cursor: string | undefined;
  do {
    const { data } = await client.GET("/v1/memories", {
      params: { query: { category: ["pages"], limit: 2, count: true, ...(cursor && { cursor }) } },
    });
    assert.ok(data && data.items.length <= 2);
    assert.equal(data.total, 5);
    got.push(...data.items.map((m) => m.id));
    cursor = data.next_cursor;
  } while (cursor);
  assert.deepEqual(got, want);
});

test("nobody overwrites what they have not seen", async () => {
  const { id } = await added("green", "changes");
  const path = { id };
  const { response } = await client.GET("/v1/memories/{id}", { params: { path } });
  const change = (content: string) =>
    client.PATCH("/v1/memories/{id}", { params: { path, header: { "If-Match": tag(response), Prefer: "wait=20" } }, body: { content } });
  const changed = await change("black");
  assert.deepEqual([changed.data?.version, changed.data?.changed], [2, true]);
  refused((await change("white")).error, "precondition_failed", 412);
  assert.equal((await client.GET("/v1/memories/{id}", { params: { path } })).data?.content, "black");
});

test("many memories move at once, with a result for each", async () => {
  const ids = [(await added("one", "bulk")).id, (await added("two", "bulk")).id, "00000000-0000-4000-8000-000000000000"];
  const { data } = await client.POST("/v1/memories/bulk/archive", { params: { header: { Prefer: "wait=20" } }, body: { ids } });
  assert.deepEqual(data?.results.map((r) => [r.id, r.outcome, r.code]), [
    [ids[0], "changed", undefined], [ids[1], "changed", undefined], [ids[2], "refused", "not_found"],
  ]);
  const archived = await client.GET("/v1/memories", { params: { query: { category: ["bulk"], state: ["archived"] } } });
  assert.equal(archived.data?.items.length, 2);
});

test("words find memories", async () => {
  const { id } = await added("hippopotamus sleeps", "search");
  const { data } = await client.GET("/v1/memories/search", { params: { query: { q: "hippopotamus", highlight: true } } });
  assert.deepEqual(data?.items.map((f) => [f.memory.id, f.highlight]), [[id, "«hippopotamus» sleeps"]]);
});

test("a refusal is a problem", async () => {
  const absent = await client.GET("/v1/memories/{id}", { params: { path: { id: "00000000-0000-4000-8000-000000000000" } } });
  const problem = refused(absent.error, "not_found", 404);
  assert.equal(problem.type, "/problems/not_found");
  const explained = await client.GET("/problems/{code}", { params: { path: { code: problem.code } } });
  assert.ok(explained.data?.remedy);
  const stranger = createClient({ baseUrl, token: "no.such.token" });
  assert.equal((await stranger.GET("/v1/me")).response.status, 401);
});

test("a long poll hears of a change", async () => {
  const begun = await client.GET("/v1/changes");
  assert.ok(begun.data);
  const { next } = begun.data;
  const heard = client.GET("/v1/changes", { params: { query: { after: next }, header: { Prefer: "wait=25" } } });
  const { id } = await added("heard of", "feed");
  const page = await heard;
  assert.ok(page.data && page.data.next !== next);
  const items = [...page.data.items];
  for (let after = page.data.next; !items.some((c) => c.entity === "memory"); ) {
    const more = await client.GET("/v1/changes", { params: { query: { after }, header: { Prefer: "wait=25" } } });
    assert.ok(more.data && more.data.items.length > 0, "the memory is not in the feed");
    items.push(...more.data.items);
    after = more.data.next;
  }
  assert.deepEqual(items.filter((c) => c.entity === "memory").map((c) => [c.id, c.kind, c.version]), [[id, "memory.added.v1", 1]]);
});
