import { isSupervisedChild, restartOf } from "../config/environment.ts";
import { loadSettings } from "../config/load-settings.ts";
import type { Settings } from "../config/options.ts";
import { readApiKeys } from "../config/read-api-keys.ts";
import { systemClock } from "../core/clock.ts";
import { banner } from "./banner.ts";
import { CliError, type Command } from "./command.ts";
import { watchFaults } from "./fault-watch.ts";
import { SETTINGS_LAYERS, settingsHelp } from "./settings-help.ts";
import { handleSignals, outliveReaders } from "./signals.ts";
import { type RunningServer, startServer } from "./start-server.ts";
import { endWithSupervisor, settingsFromSupervisor, supervise, tellSupervisor } from "./supervisor.ts";

const HELP = `Usage: scalellm serve [MODEL] [OPTIONS]

Serves a model: the OpenAI API, Connect and gRPC-Web on one port, native gRPC on another. MODEL is a GGUF file, a Hugging
Face folder or a hub id (pulled if absent); without it, the bundled model.

  scalellm serve
  scalellm serve ./model.gguf --served-model-name my-model --port 9000
  scalellm serve ORG/NAME:Q4_K_M --host 0.0.0.0 --api-key-file keys.txt

${settingsHelp()}

${SETTINGS_LAYERS}
`;

/** Time to stop at once; whatever still hangs then (a kernel, a Worker) ends with the process. */
const STOP_DEADLINE_MS = 2000;
/** Exit code of a server that was told twice to stop. */
const EXIT_CUT_SHORT = 1;
/** Exit code of a process that its supervisor should start again. */
const EXIT_RESTART = 70;

export const serveCommand: Command = {
  async run(argv) {
    if (argv.includes("--help") || argv.includes("-h")) {
      process.stdout.write(HELP);
      return 0;
    }
    if (isSupervisedChild()) return serve(await settingsFromSupervisor());
    const loaded = loadSettings(argv);
    const { positionals, warnings } = loaded;
    if (positionals.length > 1) throw new CliError(`expected one model, got ${positionals.join(" ")}`, 2);
    for (const warning of warnings) process.stderr.write(`scalellm serve: ${warning}\n`);
    const model = positionals[0] ?? loaded.settings.model;
    const settings = { ...loaded.settings, apiKey: readApiKeys(loaded), model };
    if (!settings.supervise) return serve(settings);
    return supervise(argv, settings, systemClock, (line) => process.stderr.write(`${line}\n`));
  },
};

async function serve(settings: Settings): Promise<number> {
  const startedMs = systemClock.nowMs();
  const { promise: ended, resolve: end } = Promise.withResolvers<number>();
  outliveReaders();
  const server = await startServer(settings, { onFatal: () => end(EXIT_RESTART), restart: restartOf() });
  const { stop, replace } = createStopper(server, settings.drainTimeout, end);
  handleSignals(stop, (line) => server.logger.info(line));
  watchFaults((error) => {
    server.fault(error);
    replace();
  });
  endWithSupervisor(stop);
  tellSupervisor({ type: "listening", ...server.address });
  try {
    // A model may take minutes to come; a signal need not wait for it.
    const model = await Promise.race([server.ready, ended]);
    if (typeof model !== "number") {
      process.stdout.write(banner(settings, server, model, systemClock.nowMs() - startedMs));
      tellSupervisor({ type: "ready" });
    }
  } catch (error) {
    await server.stop(false);
    throw error;
  }
  const code = await ended;
  // Workers and sockets of clients that do not close must not keep the process.
  process.exit(code);
}

interface Stopper {
  /**
   * First signal: let running requests end, at most so many seconds; whoever is cut off then is logged, and the process
   * ends with 0, since it did what it was asked. Second signal: end them. The process ends in any case.
   */
  stop(): void;
  /** As the first signal, but for the supervisor to start the server again. */
  replace(): void;
}

function createStopper(server: RunningServer, drainTimeoutS: number, end: (code: number) => void): Stopper {
  let signals = 0;
  let draining = false;
  let code = 0;
  const stopAtOnce = () => {
    setTimeout(() => end(code), STOP_DEADLINE_MS);
    void server.stop(false).finally(() => end(code));
  };
  const drain = () => {
    if (draining) return;
    draining = true;
    setTimeout(() => {
      server.logger.warn("stopping: the time to drain is over; requests that still run are ended", {
        drainTimeoutS,
        requests: server.inFlight,
      });
      stopAtOnce();
    }, drainTimeoutS * 1000);
    void server.stop(true).finally(() => end(code));
  };
  return {
    stop() {
      signals++;
      if (signals === 1) {
        server.logger.info("stopping: running requests may end; a second signal stops at once");
        code = 0;
        return drain();
      }
      code = EXIT_CUT_SHORT;
      if (signals === 2) stopAtOnce();
      else end(code);
    },
    replace() {
      if (draining) return;
      server.logger.error("the server is replaced after an error that nothing caught: running requests may end");
      code = EXIT_RESTART;
      drain();
    },
  };
}
