// Runs a command beside a refold of its own, which serves on a temporary data directory and ends with the command:
//
//	node scripts/with-refold.mjs bin/refold COMMAND [ARGUMENT...]
//
// The command finds TEST_URL, TEST_TOKEN (the user ann of the tenant acme) and TEST_MCP_TOKEN (the same for /mcp) in its
// environment. The exit code is that of the command.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const startMaxMs = 180_000;
const scopes = "memories:read,memories:write,memories:delete,apps:read,stats:read,changes:read";

const [refold, command, ...args] = process.argv.slice(2);
if (!command) {
  console.error("usage: node scripts/with-refold.mjs bin/refold COMMAND [ARGUMENT...]");
  process.exit(2);
}

// Only stores of its own: nothing of the caller's plane or database.
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => name !== "DATABASE_URL" && !name.startsWith("REFOLD_")),
);
const folder = mkdtempSync(join(tmpdir(), "refold-"));
chmodSync(folder, 0o755); // PostgreSQL does not run as root: another user must get to its files
const data = join(folder, "data");
const run = (...args) => execFileSync(refold, [...args, "--data", data], { env, encoding: "utf8" }).trim();
const mint = (...more) =>
  run("token", "mint", "--tenant", "acme", "--subject", "ann", "--scope", scopes, ...more);

const server = spawn(refold, ["serve", "--data", data, "--listen", "127.0.0.1:0", "--drain", "0s"], {
  env,
  stdio: ["ignore", "ignore", "pipe"],
});
const log = [];
const ended = once(server, "exit");
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => server.kill("SIGTERM")); // then the command fails, and what was made is removed
}
let code = 1;
try {
  const url = await ready();
  run("tenant", "create", "acme");
  const child = spawn(command, args, {
    stdio: "inherit",
    env: { ...process.env, TEST_URL: url, TEST_TOKEN: mint(), TEST_MCP_TOKEN: mint("--audience", "mcp") },
  });
  const [exit] = await once(child, "exit");
  code = exit ?? 1;
} catch (err) {
  console.error(`${err.message}\nrefold serve said:\n${log.join("\n")}`);
} finally {
  server.kill("SIGTERM");
  await ended;
  rmSync(folder, { recursive: true, force: true });
}
process.exit(code);

// ready returns the address once /readyz says yes.
async function ready() {
  const deadline = Date.now() + startMaxMs;
  let url;
  createInterface({ input: server.stderr }).on("line", (line) => {
    log.push(line);
    url ??= /refold serves (http:\S+)/.exec(line)?.[1];
  });
  while (Date.now() < deadline && server.exitCode === null) {
    if (url && (await fetch(`${url}/readyz`).catch(() => undefined))?.ok) {
      return url;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(server.exitCode === null ? `refold is not ready after ${startMaxMs / 1000} s` : "refold serve has ended");
}
