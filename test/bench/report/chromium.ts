import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The browser of the Debian package, if it is installed. */
export const chromium = Bun.which("chromium") ?? Bun.which("chromium-browser") ?? undefined;

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--window-size=1280,1600",
  "--remote-debugging-port=0",
];

/** What a page looked like to a browser. */
export interface PageVisit {
  /** Messages of console.error and console.warn, and of uncaught exceptions. */
  complaints: string[];
  /** Requests other than for the page itself. */
  requests: string[];
  result: unknown;
}

/**
 * Opens a file in a fresh headless Chromium and evaluates an expression (it may be a promise) in it. The picture, where
 * one is asked for, is a PNG of the whole page before that.
 */
export async function visit(browser: string, url: string, expression: string, picture?: string): Promise<PageVisit> {
  const profile = await mkdtemp(join(tmpdir(), "scalellm-chromium-"));
  const child = Bun.spawn([browser, ...FLAGS, `--user-data-dir=${profile}`, "about:blank"], {
    stdout: "ignore",
    stderr: "pipe",
  });
  try {
    const port = await debuggingPort(child.stderr);
    const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as Array<Record<string, string>>;
    const page = targets.find((target) => target.type === "page")!;
    return await inspect(page.webSocketDebuggerUrl!, url, expression, picture);
  } finally {
    child.kill();
    await child.exited;
    await rm(profile, { recursive: true, force: true });
  }
}

/** Chromium says on standard error where it listens. */
async function debuggingPort(stderr: ReadableStream<Uint8Array>): Promise<number> {
  let text = "";
  for await (const bytes of stderr) {
    text += new TextDecoder().decode(bytes);
    const port = /DevTools listening on ws:\/\/127\.0\.0\.1:(\d+)\//.exec(text)?.[1];
    if (port !== undefined) return Number(port);
  }
  throw new Error(`chromium did not start: ${text}`);
}

/** The few calls of the DevTools protocol that this takes. */
async function inspect(
  debuggerUrl: string,
  url: string,
  expression: string,
  picture: string | undefined,
): Promise<PageVisit> {
  const visit: PageVisit = { complaints: [], requests: [], result: undefined };
  const socket = new WebSocket(debuggerUrl);
  const replies = new Map<number, (result: Record<string, unknown>) => void>();
  const loaded = Promise.withResolvers<void>();
  let lastId = 0;
  const call = (method: string, params: unknown = {}): Promise<Record<string, unknown>> => {
    const id = ++lastId;
    socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve) => replies.set(id, resolve));
  };
  socket.addEventListener("message", ({ data }) => {
    const { id, method, params, result, error } = JSON.parse(String(data));
    if (id !== undefined) replies.get(id)?.(result ?? { error });
    else if (method === "Page.loadEventFired") loaded.resolve();
    else if (method === "Runtime.exceptionThrown") visit.complaints.push(JSON.stringify(params.exceptionDetails));
    else if (method === "Runtime.consoleAPICalled" && /error|warning/.test(params.type))
      visit.complaints.push(JSON.stringify(params.args));
    else if (method === "Log.entryAdded") visit.complaints.push(params.entry.text);
    else if (method === "Network.requestWillBeSent" && !/^(data:|about:)/.test(params.request.url))
      if (params.request.url !== url) visit.requests.push(params.request.url);
  });
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", () => reject(new Error("no connection to chromium")));
  });
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await call(`${domain}.enable`);
  await call("Page.navigate", { url });
  await loaded.promise;
  if (picture !== undefined) {
    const { data } = await call("Page.captureScreenshot", { captureBeyondViewport: true });
    await Bun.write(picture, Buffer.from(String(data), "base64"));
  }
  const evaluated = await call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  visit.result = (evaluated.result as { value?: unknown } | undefined)?.value ?? evaluated;
  socket.close();
  return visit;
}
