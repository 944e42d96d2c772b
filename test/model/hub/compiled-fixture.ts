// Entry of the binary that compiled.test.ts builds: pulls from the hub that its arguments name.
import { pull } from "../../../src/model/hub/pull.ts";

const [endpoint, cacheDir, id] = process.argv.slice(2);
const { path } = await pull(id!, { endpoint: endpoint!, cacheDir: cacheDir! });
console.log(path);
