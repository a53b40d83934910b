// Runs the conformance suite against the server of TEST_URL, with the token TEST_MCP_TOKEN, once for each revision of the
// protocol. The suite sends no token: a proxy adds it. And the suite calls tools of a server made for it: where refold has
// a tool that behaves as theirs should, the proxy puts its name in.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { buffer } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const revisions = ["2025-06-18", "2025-11-25", "2026-07-28"];

const deleteAll = { name: "delete_all_memories", arguments: {} }; // asks the user
const tools = {
  test_simple_text: { name: "whoami", arguments: {} },
  test_error_handling: { name: "get_memory", arguments: { memory_id: "00000000-0000-4000-8000-000000000000" } },
  test_elicitation: deleteAll,
  test_input_required_result_elicitation: deleteAll,
  test_input_required_result_request_state: deleteAll,
  test_input_required_result_tampered_state: deleteAll,
};

const { TEST_URL: target, TEST_MCP_TOKEN: token } = process.env;
if (!target || !token) {
  console.error("TEST_URL and TEST_MCP_TOKEN are not set: run this by scripts/with-refold.mjs");
  process.exit(2);
}

const proxy = createServer(async (incoming, answer) => {
  const headers = { ...incoming.headers, authorization: `Bearer ${token}` }; // Host and Origin stay: the server judges them
  const body = withTool(await buffer(incoming), headers);
  const outgoing = request(new URL(incoming.url, target), { method: incoming.method, headers }, (from) => {
    answer.writeHead(from.statusCode, from.rawHeaders);
    from.pipe(answer);
  });
  outgoing.on("error", () => answer.destroy());
  answer.on("close", () => outgoing.destroy());
  outgoing.end(body);
});
proxy.listen(0, "127.0.0.1");
await once(proxy, "listening");

let failed = false;
for (const revision of revisions) {
  console.log(`\n# ${revision}`);
  const suite = spawn(
    "conformance",
    ["server", "--url", `http://127.0.0.1:${proxy.address().port}/mcp`, "--suite", "all", "--spec-version", revision,
      "--expected-failures", fileURLToPath(new URL("left-out.yml", import.meta.url))],
    { stdio: "inherit" },
  );
  const [code] = await once(suite, "exit");
  failed ||= code !== 0;
}
proxy.close();
proxy.closeAllConnections();
process.exit(failed ? 1 : 0);

// withTool replaces the tool of a call.
function withTool(body, headers) {
  let message;
  try {
    message = JSON.parse(body);
  } catch {
    return body; // what is malformed is for the server to refuse
  }
  const tool = message?.method === "tools/call" && tools[message.params?.name];
  if (!tool) {
    return body;
  }
  Object.assign(message.params, tool);
  if (headers["mcp-name"]) {
    headers["mcp-name"] = tool.name;
  }
  const replaced = Buffer.from(JSON.stringify(message));
  headers["content-length"] = replaced.length;
  delete headers["transfer-encoding"];
  return replaced;
}
