// Writes src/contract.ts, the types of the contract. Its first line has the contract's digest, by which a Go test sees
// that the types are of another contract.

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

const contract = new URL("../../internal/httpapi/openapi.yaml", import.meta.url);
const digest = createHash("sha256").update(readFileSync(contract)).digest("hex");
const types = astToString(await openapiTS(contract));
writeFileSync(
  new URL("src/contract.ts", import.meta.url),
  `// Code generated from internal/httpapi/openapi.yaml, sha256 ${digest}. DO NOT EDIT.\n\n${types}`,
);
