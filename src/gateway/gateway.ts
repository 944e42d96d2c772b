import { ServeError } from "../core/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../core/generate.ts";
import { reflected } from "../core/reflected.ts";
import type { SamplingParams } from "../core/sampling-params.ts";
import type { ServerMetrics } from "../metrics/server-metrics.ts";
import type { Replica, ReplicaStats } from "../replica/replica.ts";
import type { TextService } from "../text/text-service.ts";
import { observedEvents } from "./observed-events.ts";

/** A start takes this long at most on a warm page cache; clients that retry meet a server that is ready. */
const LOADING_RETRY_AFTER_S = 2;

/** A model this server answers for. */
export interface ServedModel {
  readonly name: string;
  /** Seconds since 1970 when it was loaded. */
  readonly createdS: number;
  readonly maxModelLen: number;
  readonly vocabSize: number;
  readonly text: TextService;
  /** Of all that its results depend on beside the request: this build, the checkpoint, the kernels. Equal ones give equal texts. */
  readonly systemFingerprint: string;
  /** Sampling defaults of the checkpoint (generation_config), used where a request names none. */
  readonly generationDefaults: Readonly<Partial<SamplingParams>>;
  /** For a request that names no temperature; the checkpoint's defaults come first. */
  readonly recommendedSampling?: Readonly<Partial<SamplingParams>> | undefined;
}

/** Between the APIs and the replicas: admits a request and routes it. A pass-through to one replica a model for now. */
export class Gateway {
  private readonly served = new Map<string, { model: ServedModel; replica: Replica }>();

  /** With `metrics`, every request of every API is observed here. */
  constructor(
    private readonly metrics?: ServerMetrics,
    /** Clients that meet the model loading come again after this: it may be known from an earlier start. */
    private readonly loadingRetryAfterS: number = LOADING_RETRY_AFTER_S,
  ) {}

  add(model: ServedModel, replica: Replica): void {
    this.served.set(model.name, { model, replica });
  }

  models(): ServedModel[] {
    return [...this.served.values()].map((entry) => entry.model);
  }

  /** Throws ServeError: not_found with param "model", or unavailable while nothing is loaded yet. */
  model(name: string): ServedModel {
    return this.entry(name).model;
  }

  /** True when every model has a replica that can answer and a text service that gets texts done. */
  ready(): boolean {
    return (
      this.served.size > 0 &&
      [...this.served.values()].every(({ model, replica }) => replica.stats().ready && model.text.ready)
    );
  }

  replicas(): Replica[] {
    return [...this.served.values()].map((entry) => entry.replica);
  }

  replicaStats(): Array<{ model: string } & ReplicaStats> {
    return [...this.served.values()].map(({ model, replica }) => ({ model: model.name, ...replica.stats() }));
  }

  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent> {
    const events = this.entry(request.model).replica.generate(request, signal);
    if (this.metrics === undefined) return events;
    return observedEvents(events, this.metrics.observe(request.model, request.promptTokenIds.length));
  }

  private entry(name: string): { model: ServedModel; replica: Replica } {
    const entry = this.served.get(name);
    if (!entry) {
      if (this.served.size === 0) {
        throw new ServeError("unavailable", "The model is still loading.", {
          reason: "model_loading",
          retryAfterS: this.loadingRetryAfterS,
        });
      }
      const known = [...this.served.keys()].join(", ");
      throw new ServeError("not_found", `The model '${reflected(name)}' does not exist. Served here: ${known}.`, {
        param: "model",
        reason: "model_not_found",
      });
    }
    return entry;
  }
}
