import { Counter, Gauge, Registry } from "prom-client";
import type { Clock } from "../core/clock.ts";
import type { FinishReason } from "../core/generate.ts";
import { BUCKETS_S, BUCKETS_TOKENS } from "./buckets.ts";
import { GenerationObserver } from "./generation-observer.ts";
import { ModelHistogram } from "./model-histogram.ts";
import { watchProcess } from "./process-metrics.ts";

/** What a replica tells about itself, as far as metrics go; counts of tokens are since start. */
export interface ReplicaSample {
  readonly model: string;
  readonly running: number;
  readonly waiting: number;
  readonly kvBlocksTotal: number;
  readonly kvBlocksUsed: number;
  /** Bytes of a KV block, where the engine is in this process. */
  readonly kvBlockBytes?: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
  readonly preemptions: number;
  /** Where the engine is in this process. */
  readonly engine?: EngineSample;
}

/** Counts and times in ms since start. */
export interface EngineSample {
  /** KV blocks that take memory now. */
  readonly kvBlocksResident: number;
  readonly steps: number;
  readonly stepMs: number;
  readonly gapMs: number;
  readonly scheduleMs: number;
  readonly faults: number;
  readonly computedTokens: number;
  readonly draftTokens: number;
  readonly acceptedDraftTokens: number;
}

const MODEL = ["model_name"] as const;

/**
 * Every metric of the server, named as vLLM names them under the prefix `scalellm:`. The registry is its own, so that two
 * servers in one process (tests) do not share counts.
 */
export class ServerMetrics {
  readonly contentType: string;
  private readonly registry = new Registry();
  private readonly registers = [this.registry];
  /** Labels are the route's pattern and the status: both from closed sets, whatever clients send. */
  private readonly httpRequests = new Counter({
    name: "scalellm:http_requests_total",
    help: "HTTP requests by route and status code.",
    labelNames: ["route", "code"],
    registers: this.registers,
  });
  private readonly finished = new Counter({
    name: "scalellm:request_success_total",
    help: "Finished choices by reason.",
    labelNames: ["model_name", "finished_reason"],
    registers: this.registers,
  });
  private readonly failed = new Counter({
    name: "scalellm:request_failure_total",
    help: "Generations that ended in an error, by its code.",
    labelNames: ["model_name", "code"],
    registers: this.registers,
  });
  private readonly faults = new Counter({
    name: "scalellm:unhandled_errors_total",
    help: "Errors that nothing caught. After the first the server drains and is replaced.",
    registers: this.registers,
  });
  private readonly histograms = {
    timeToFirstToken: this.histogram("time_to_first_token_seconds", "Time to first token.", BUCKETS_S.timeToFirstToken),
    interToken: this.histogram(
      "inter_token_latency_seconds",
      "Gap between two outputs of a choice.",
      BUCKETS_S.interToken,
    ),
    perOutputToken: this.histogram(
      "request_time_per_output_token_seconds",
      "Mean gap between the tokens of a choice.",
      BUCKETS_S.interToken,
    ),
    endToEnd: this.histogram("e2e_request_latency_seconds", "Admission to the end of a choice.", BUCKETS_S.request),
    queue: this.histogram("request_queue_time_seconds", "Time in the queue.", BUCKETS_S.request),
    promptTokens: this.histogram("request_prompt_tokens", "Prompt tokens of a request.", BUCKETS_TOKENS),
    generationTokens: this.histogram("request_generation_tokens", "Output tokens of a choice.", BUCKETS_TOKENS),
  };

  constructor(private readonly clock: Clock) {
    this.contentType = this.registry.contentType;
    watchProcess(this.registry, clock.epochS() - process.uptime());
  }

  /** Reads `samples` whenever the metrics are asked for. */
  watchReplicas(samples: () => readonly ReplicaSample[]): void {
    this.sampled("num_requests_running", "Requests in the running batch.", samples, (s) => s.running);
    this.sampled("num_requests_waiting", "Requests in the queue.", samples, (s) => s.waiting);
    this.sampled("kv_cache_usage_perc", "Share of KV blocks in use; 1 is all.", samples, (s) =>
      s.kvBlocksTotal === 0 ? 0 : s.kvBlocksUsed / s.kvBlocksTotal,
    );
    this.sampled(
      "kv_cache_resident_bytes",
      "Memory that the KV cache takes now: it grows as blocks are first used, up to all, and falls when unused ones are given back.",
      samples,
      (s) => (s.engine && s.kvBlockBytes !== undefined ? s.engine.kvBlocksResident * s.kvBlockBytes : undefined),
    );
    this.accumulated("num_preemptions_total", "Preemptions.", samples, (s) => s.preemptions);
    this.accumulated("prompt_tokens_total", "Prompt tokens.", samples, (s) => s.promptTokens);
    this.accumulated(
      "prompt_tokens_cached_total",
      "Prompt tokens from the prefix cache.",
      samples,
      (s) => s.cachedTokens,
    );
    this.accumulated("generation_tokens_total", "Output tokens.", samples, (s) => s.outputTokens);
    this.watchEngines(samples);
  }

  private watchEngines(samples: () => readonly ReplicaSample[]): void {
    const engine = (name: string, help: string, value: (e: EngineSample) => number) =>
      this.accumulated(name, help, samples, (s) => (s.engine ? value(s.engine) : undefined));
    engine("engine_steps_total", "Steps computed.", (e) => e.steps);
    engine("engine_step_seconds_total", "Time that steps took.", (e) => e.stepMs / 1000);
    engine(
      "engine_step_gap_seconds_total",
      "Time from a step's end to the submission of the next while there was work and none was in flight.",
      (e) => e.gapMs / 1000,
    );
    engine(
      "engine_schedule_seconds_total",
      "Time spent to decide, pack and commit steps; beside a step in flight it costs no gap.",
      (e) => e.scheduleMs / 1000,
    );
    engine("engine_step_failures_total", "Steps that failed and were computed again.", (e) => e.faults);
    engine("engine_computed_tokens_total", "Tokens computed, prefill and decode.", (e) => e.computedTokens);
    engine("spec_decode_num_draft_tokens_total", "Tokens drafted.", (e) => e.draftTokens);
    engine("spec_decode_num_accepted_tokens_total", "Drafted tokens accepted.", (e) => e.acceptedDraftTokens);
  }

  countFault(): void {
    this.faults.inc();
  }

  /** What runs here, for joins and alerts on versions: a gauge of 1 with these labels. */
  describeBuild(labels: Readonly<Record<string, string>>): void {
    new Gauge({
      name: "scalellm_build_info",
      help: "The build that runs; its labels tell which.",
      labelNames: Object.keys(labels),
      registers: this.registers,
    }).set({ ...labels }, 1);
  }

  countHttp(route: string, code: number): void {
    this.httpRequests.inc({ route, code });
  }

  /** Starts observing one request at the moment it enters the gateway. */
  observe(model: string, promptTokens: number): GenerationObserver {
    const prompt = this.histograms.promptTokens.of(model);
    const timeToFirstToken = this.histograms.timeToFirstToken.of(model);
    const endToEnd = this.histograms.endToEnd.of(model);
    const queue = this.histograms.queue.of(model);
    const generation = this.histograms.generationTokens.of(model);
    const perOutputToken = this.histograms.perOutputToken.of(model);
    return new GenerationObserver(this.clock, {
      firstToken: (seconds) => {
        prompt(promptTokens);
        timeToFirstToken(seconds);
      },
      interToken: this.histograms.interToken.of(model),
      end: (end) => {
        this.finished.inc({ model_name: model, finished_reason: end.reason satisfies FinishReason });
        endToEnd(end.endToEndS);
        queue(end.queueS);
        generation(end.tokens);
        if (end.perTokenS !== undefined) perOutputToken(end.perTokenS);
      },
      failed: (code) => this.failed.inc({ model_name: model, code }),
    });
  }

  /** Prometheus text format. */
  render(): Promise<string> {
    return this.registry.metrics();
  }

  private histogram(name: string, help: string, bounds: readonly number[]): ModelHistogram {
    return new ModelHistogram(`scalellm:${name}`, help, bounds, this.registry);
  }

  private sampled(
    name: string,
    help: string,
    samples: () => readonly ReplicaSample[],
    value: (s: ReplicaSample) => number | undefined,
  ) {
    new Gauge({
      name: `scalellm:${name}`,
      help,
      labelNames: MODEL,
      registers: this.registers,
      collect() {
        for (const sample of samples()) {
          const now = value(sample);
          if (now !== undefined) this.set({ model_name: sample.model }, now);
        }
      },
    });
  }

  private accumulated(
    name: string,
    help: string,
    samples: () => readonly ReplicaSample[],
    value: (s: ReplicaSample) => number | undefined,
  ) {
    new Counter({
      name: `scalellm:${name}`,
      help,
      labelNames: MODEL,
      registers: this.registers,
      collect() {
        // The replica counts; here its total is only repeated.
        this.reset();
        for (const sample of samples()) {
          const total = value(sample);
          if (total !== undefined) this.inc({ model_name: sample.model }, total);
        }
      },
    });
  }
}
