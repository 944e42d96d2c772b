import type { Clock } from "../core/clock.ts";
import type { EndpointApi } from "./endpoint-api.ts";
import type { RequestLog } from "./request-log.ts";
import type { RequestRecord } from "./types.ts";
import type { CompletionClient } from "./wire/completion-client.ts";
import type { Session } from "./workload/session.ts";

/** Everything a session needs of its surroundings. */
export interface SessionContext {
  api: EndpointApi;
  client: CompletionClient;
  log: RequestLog;
  clock: Clock;
  cell: number;
  /** A request unfinished this long after its scheduled time is given up. */
  timeoutMs: number;
  signal: AbortSignal;
}

/**
 * Sends a session's turns one after another; the first is due at `scheduledMs` (an open loop's arrival), the others when
 * the reply before them has ended. Stops at the first turn that fails. Never throws for what the server does.
 */
export async function runSession(context: SessionContext, session: Session, scheduledMs?: number): Promise<void> {
  const messages: { role: string; content: string }[] = [];
  for (const [turn, { content, maxTokens }] of session.turns.entries()) {
    messages.push({ role: "user", content });
    const isLast = turn === session.turns.length - 1;
    const single = session.turns.length === 1;
    // Completions have no roles: a conversation is its text so far.
    const transcript = context.api.kind === "chat" ? messages : messages.map((message) => message.content).join("\n");
    context.log.inFlight++;
    const dueMs = turn === 0 ? scheduledMs : undefined;
    const waitedMs = dueMs === undefined ? 0 : context.clock.nowMs() - dueMs;
    const result = await context.client.stream({
      path: context.api.path,
      body: context.api.body(single ? content : transcript, maxTokens),
      timeoutMs: Math.max(0, context.timeoutMs - waitedMs),
      keepText: !isLast,
      signal: context.signal,
    });
    context.log.inFlight--;
    const { usage, chunkMs } = result.state;
    const record: RequestRecord = {
      endpoint: context.api.endpoint.label,
      cell: context.cell,
      session: session.index,
      turn,
      scheduledMs: dueMs ?? result.sentMs,
      sentMs: result.sentMs,
      endMs: result.endMs,
      chunkMs,
      promptTokens: usage?.promptTokens,
      outputTokens: usage?.completionTokens ?? chunkMs.length,
      outputTokensFrom: usage === undefined ? "events" : "usage",
      maxTokens,
      error: result.error,
    };
    context.log.add(record);
    if (result.error !== undefined) return;
    messages.push({ role: "assistant", content: result.text });
  }
}
