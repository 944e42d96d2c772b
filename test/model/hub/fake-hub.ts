import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface HubRequest {
  path: string;
  range: string | undefined;
  authorization: string | undefined;
  onCdn: boolean;
}

export interface Faults {
  /** Ends the connection after this many bytes of a file's body, or leaves it open and silent; so many `times`. */
  cut?: { file: string; afterBytes: number; times: number; silently?: boolean };
  /** Changes a byte of a file's body, so often. */
  corrupt?: { file: string; times: number };
  /** Answers this status, so often. */
  fail?: { path: RegExp; status: number; times: number };
  /** Answers a range with the whole file. */
  ignoreRanges?: boolean;
  /** Holds a file's body back until released. */
  hold?: { file: string; until: Promise<void> };
}

const PAGE_SIZE = 3;

/**
 * A model hub on 127.0.0.1: the API's model and tree calls (in pages), /resolve with redirects to a CDN on another
 * origin for LFS files, ranges, private repositories, and faults.
 */
export class FakeHub implements AsyncDisposable {
  readonly commit = createHash("sha1").update("commit").digest("hex");
  readonly requests: HubRequest[] = [];
  faults: Faults = {};
  token: string | undefined;
  readonly #servers: Server[] = [];
  readonly #files = new Map<string, { content: Buffer; lfs: boolean }>();
  endpoint = "";
  #cdn = "";

  static async start(files: Record<string, Buffer | string>): Promise<FakeHub> {
    const hub = new FakeHub();
    for (const [path, content] of Object.entries(files)) {
      hub.#files.set(path, { content: Buffer.from(content), lfs: /\.(safetensors|gguf|bin)$/.test(path) });
    }
    hub.endpoint = await hub.#listen(false);
    hub.#cdn = await hub.#listen(true);
    return hub;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  /** Requests for a file's content (on the CDN for LFS files). */
  downloads(file: string): HubRequest[] {
    const { lfs } = this.#files.get(file)!;
    return this.requests.filter(({ path, onCdn }) => onCdn === lfs && path.endsWith(`/${file}`));
  }

  sha256(file: string): string {
    return createHash("sha256").update(this.#files.get(file)!.content).digest("hex");
  }

  gitSha1(file: string): string {
    const { content } = this.#files.get(file)!;
    return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
  }

  async #listen(onCdn: boolean): Promise<string> {
    const server = createServer((request, response) => void this.#answer(request, response, onCdn));
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async #answer(request: IncomingMessage, response: ServerResponse, onCdn: boolean): Promise<void> {
    const url = new URL(request.url!, "http://hub");
    const { authorization, range } = request.headers;
    const path = decodeURIComponent(url.pathname);
    this.requests.push({ path, range, authorization, onCdn });
    const { fail } = this.faults;
    if (fail && fail.times > 0 && fail.path.test(path)) {
      fail.times--;
      return this.#status(response, fail.status);
    }
    if (onCdn) return this.#send(response, path.slice(1), range);
    if (this.token !== undefined && authorization !== `Bearer ${this.token}`) return this.#status(response, 401);
    if (!path.includes("/org/tiny/")) return this.#status(response, 404);
    if (path.startsWith("/api/models/org/tiny/revision/")) {
      const revision = path.slice("/api/models/org/tiny/revision/".length);
      if (!["main", "refs/pr/1", this.commit].includes(revision)) return this.#status(response, 404);
      return this.#json(response, { _id: "1", id: "org/tiny", sha: this.commit, lastModified: "2025-01-01T00:00:00Z" });
    }
    if (path === `/api/models/org/tiny/tree/${this.commit}`) return this.#tree(response, url);
    const file = path.slice(`/org/tiny/resolve/${this.commit}/`.length);
    const stored = this.#files.get(file);
    if (stored === undefined) return this.#status(response, 404);
    if (!stored.lfs) return this.#send(response, file, range);
    response.writeHead(302, { location: `${this.#cdn}/${encodeURI(file)}?signature=abc` }).end();
  }

  #tree(response: ServerResponse, url: URL): void {
    const start = Number(url.searchParams.get("cursor") ?? 0);
    const entries = [...this.#files].map(([path, { content, lfs }]) => ({
      type: "file",
      path,
      size: content.length,
      oid: lfs ? createHash("sha1").update(path).digest("hex") : this.gitSha1(path),
      ...(lfs && { lfs: { oid: this.sha256(path), size: content.length, pointerSize: 130 } }),
    }));
    const all = [{ type: "directory", path: "sub", size: 0, oid: "0".repeat(40) }, ...entries];
    if (start + PAGE_SIZE < all.length) {
      url.searchParams.set("cursor", String(start + PAGE_SIZE));
      response.setHeader("link", `<${this.endpoint}${url.pathname}${url.search}>; rel="next"`);
    }
    this.#json(response, all.slice(start, start + PAGE_SIZE));
  }

  async #send(response: ServerResponse, file: string, range: string | undefined): Promise<void> {
    const { content } = this.#files.get(file)!;
    const { cut, corrupt, hold, ignoreRanges } = this.faults;
    const start = range === undefined || ignoreRanges ? 0 : Number(/^bytes=(\d+)-$/.exec(range)![1]);
    if (start >= content.length && start > 0) return this.#status(response, 416);
    const body = Buffer.from(content.subarray(start));
    if (corrupt?.file === file && corrupt.times > 0) {
      corrupt.times--;
      body[0]! ^= 0xff;
    }
    response.setHeader("content-length", body.length);
    if (range !== undefined && !ignoreRanges) {
      response.statusCode = 206;
      response.setHeader("content-range", `bytes ${start}-${content.length - 1}/${content.length}`);
    }
    if (hold?.file === file) await hold.until;
    if (cut?.file === file && cut.times > 0) {
      cut.times--;
      const end = () => setTimeout(() => response.destroy(), 20);
      response.write(body.subarray(0, cut.afterBytes), cut.silently ? () => {} : end);
      return;
    }
    response.end(body);
  }

  #status(response: ServerResponse, status: number): void {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ error: "no" }));
  }

  #json(response: ServerResponse, value: unknown): void {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(value));
  }
}
