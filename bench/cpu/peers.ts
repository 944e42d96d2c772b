import { existsSync } from "node:fs";
import { join } from "node:path";
import { PeerSide } from "./peer-side.ts";

interface Peer {
  readonly program: string;
  /** Before the model and the number of threads. */
  readonly command: readonly string[];
  readonly install: string;
}

const SCRIPTS = join(import.meta.dir, "../peers");

/** What our engine is compared with, by name. Both are native code, with the defaults of their own programs. */
export const PEERS: Readonly<Record<string, Peer>> = {
  "llama.cpp": {
    program: "build/llama.cpp/out/bin/llama-peer",
    command: ["build/llama.cpp/out/bin/llama-peer"],
    install: "bench/peers/build-llama-server.sh",
  },
  openvino: {
    program: "build/openvino/venv/bin/python",
    command: ["build/openvino/venv/bin/python", join(SCRIPTS, "openvino-peer.py")],
    install: "bench/peers/install-openvino.sh",
  },
};

/** Starts the peers that are named and installed; says which are left out, and why. */
export async function startPeers(
  names: readonly string[],
  model: string,
  threads: number,
  say: (message: string) => void,
): Promise<PeerSide[]> {
  const started: PeerSide[] = [];
  for (const name of names) {
    const peer = PEERS[name];
    if (!peer) throw new Error(`--peers: ${name} is none of ${Object.keys(PEERS).join(", ")}`);
    if (!existsSync(peer.program)) {
      say(`${name} is left out: ${peer.program} is not there; ${peer.install} installs it`);
      continue;
    }
    try {
      started.push(await PeerSide.start([...peer.command, model, String(threads)]));
    } catch (error) {
      say(`${name} is left out: ${(error as Error).message}`);
    }
  }
  return started;
}
