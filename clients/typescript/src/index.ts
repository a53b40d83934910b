import createFetchClient, { type Client as FetchClient, type ClientOptions } from "openapi-fetch";
import type { components, paths } from "./contract.js";

export type { components, operations, paths } from "./contract.js";

/** Memory is a memory as the server answers with it. */
export type Memory = components["schemas"]["Memory"];

/** Problem is what every answer of 400 and above has as `error`: look at `code` and `retryable`. */
export type Problem = components["schemas"]["Problem"];

/** Media are the types of answers that are parsed. An answer that is read as a stream needs `parseAs: "stream"` and its type in `Accept`. */
type Media = "application/json" | "application/problem+json" | "application/zip";

/** Client has a method for each method of HTTP, typed by the contract. */
export type Client = FetchClient<paths, Media>;

/**
 * createClient returns a client of the server at `baseUrl`. It sends the token with every request. Its methods take paths
 * of the contract and resolve to `data` or `error`, and to the `response` with its headers; they reject only when there
 * was no answer. Then, and after an answer with the header `Outcome: unknown`, a command may or may not be stored: send it
 * again with the same `Idempotency-Key`.
 */
export function createClient({ token, ...options }: ClientOptions & { baseUrl: string; token: string }): Client {
  const client = createFetchClient<paths, Media>(options);
  client.use({
    onRequest({ request }) {
      request.headers.set("Authorization", `Bearer ${token}`);
      return request;
    },
  });
  return client;
}
