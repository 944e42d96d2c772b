/** A server in a process of its own, whose limit of descriptors a test chooses: prints its URL, then its CPU time on request. */
import { createGrpcServer } from "../../src/http/grpc/grpc-server.ts";
import { createFixture } from "./connect-fixture.ts";
import { TestServer } from "./test-server.ts";

const server = new TestServer({ limits: { reservedDescriptors: 64 } });
const grpc = await createGrpcServer(createFixture().deps, { hostname: "127.0.0.1", port: 0 });
// A stream without end, a piece now and then.
server.replica.script = () => ({ pieces: Array(1e6).fill("a"), before: () => Bun.sleep(20) });
console.log(JSON.stringify({ url: server.url, grpcPort: grpc.port }));
for await (const _line of console) {
  const { user, system } = process.cpuUsage();
  console.log(JSON.stringify({ cpuMs: (user + system) / 1000 }));
}
process.exit(0);
