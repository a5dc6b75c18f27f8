// What the daemon answers, or why it does not.

const TOKEN = "servo-admin-token";
const PATIENCE_MS = 8000;

/** The daemon wants a token, or another one. */
export class TokenWanted extends Error {}

/** There is no such thing. */
export class Missing extends Error {}

/** The daemon answers, but not with what was asked for. */
export class Refused extends Error {}

/** Nobody answers. */
export class Unreachable extends Error {}

export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? "",
  set: (text) => sessionStorage.setItem(TOKEN, text),
  forget: () => sessionStorage.removeItem(TOKEN),
};

/** The answer to a GET of `path`, which is relative to where this page is. */
export async function get(path, signal) {
  const headers = { accept: "application/json" };
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  const signals = [AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])];
  let response, text;
  try {
    response = await fetch(path, { headers, cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.any(signals) });
    text = await response.text();
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new Unreachable(cause.name === "TimeoutError" ? `no answer within ${PATIENCE_MS / 1000} s` : "no connection");
  }
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // What is no JSON has no `error` either: the status says it.
  }
  if (response.ok && body !== null) return body;
  const said = typeof body?.error === "string" ? body.error : `HTTP ${response.status}`;
  if (response.status === 401 || response.status === 403) throw new TokenWanted(said);
  if (response.status === 404) throw new Missing(said);
  throw new Refused(response.ok ? "the answer is not JSON: is this the admin address of servo run?" : said);
}
