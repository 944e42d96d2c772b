import { connect } from "node:net";
import { createServer } from "node:tls";

/** What a proxy in front of us does: TLS on a port of its own, and the bytes within to `port`. Resolves with its port. */
export async function tlsFront(creds: { cert: Uint8Array; key: Uint8Array }, port: number): Promise<number> {
  const options = { cert: Buffer.from(creds.cert), key: Buffer.from(creds.key), ALPNProtocols: ["h2", "http/1.1"] };
  const server = createServer(options, (outer) => {
    const inner = connect({ port, host: "127.0.0.1", noDelay: true });
    outer.pipe(inner).pipe(outer);
    // One side's end is the other's.
    outer.on("error", () => inner.destroy()).on("close", () => inner.destroy());
    inner.on("error", () => outer.destroy()).on("close", () => outer.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("the server has no port");
  return address.port;
}
