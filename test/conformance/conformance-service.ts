import { create, type Message } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import type {
  ConformanceRequest,
  ConformanceSchema,
  ErrorDefinition,
  Header,
  ResponseDefinition,
  StreamDefinition,
  UnaryDefinition,
} from "./conformance-schema.ts";

/** The service that Connect's conformance suite calls: each request says how it is to be answered. */
export function createConformanceService(schema: ConformanceSchema) {
  const requestInfo = schema.message("ConformancePayload.RequestInfo");
  const pack = (message: Message): Any => anyPack(schema.message(message.$typeName.split(".").at(-1)!), message);

  const info = (context: HandlerContext, requests: readonly Message[], isFirst = true): Message => {
    const fields = { requests: requests.map(pack) };
    if (!isFirst) return create(requestInfo, fields);
    const timeoutMs = context.timeoutMs();
    const query = new URL(context.url).searchParams;
    return create(requestInfo, {
      ...fields,
      requestHeaders: toHeaders(context.requestHeader),
      ...(timeoutMs === undefined ? {} : { timeoutMs: BigInt(Math.round(timeoutMs)) }),
      ...(context.requestMethod === "GET" ? { connectGetInfo: { queryParams: toHeaders(query) } } : {}),
    });
  };

  const failure = (error: ErrorDefinition, details: readonly Any[]): ConnectError => {
    const result = new ConnectError(error.message ?? "", error.code as Code);
    result.details = [...error.details, ...details].map(({ typeUrl, value }) => {
      return { type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value: value as Uint8Array<ArrayBuffer> };
    });
    return result;
  };

  const begin = (context: HandlerContext, definition: ResponseDefinition | undefined): void => {
    addHeaders(context.responseHeader, definition?.responseHeaders ?? []);
    addHeaders(context.responseTrailer, definition?.responseTrailers ?? []);
  };

  const answerOnce = async (
    context: HandlerContext,
    definition: UnaryDefinition | undefined,
    requests: readonly Message[],
  ) => {
    begin(context, definition);
    await Bun.sleep(definition?.responseDelayMs ?? 0);
    const reached = info(context, requests);
    const response = definition?.response;
    if (response?.case === "error") throw failure(response.value, [anyPack(requestInfo, reached)]);
    const data = response?.case === "responseData" ? response.value : new Uint8Array();
    return { payload: { data, requestInfo: reached } };
  };

  /** Answers from the given one on; `requests` are those not yet told of. */
  async function* answers(
    context: HandlerContext,
    definition: StreamDefinition | undefined,
    requests: readonly Message[],
    from = 0,
  ) {
    const { responseData = [], responseDelayMs = 0, error } = definition ?? {};
    for (let index = from; index < responseData.length; index++) {
      await Bun.sleep(responseDelayMs);
      const told = index === 0 ? { requestInfo: info(context, requests) } : {};
      yield { payload: { data: responseData[index]!, ...told } };
    }
    if (error === undefined) return;
    throw failure(error, responseData.length === 0 ? [anyPack(requestInfo, info(context, requests))] : []);
  }

  return {
    unary: (request: ConformanceRequest<UnaryDefinition>, context: HandlerContext) =>
      answerOnce(context, request.responseDefinition, [request]),
    idempotentUnary: (request: ConformanceRequest<UnaryDefinition>, context: HandlerContext) =>
      answerOnce(context, request.responseDefinition, [request]),

    async clientStream(requests: AsyncIterable<ConformanceRequest<UnaryDefinition>>, context: HandlerContext) {
      const received = await Array.fromAsync(requests);
      return answerOnce(context, received[0]?.responseDefinition, received);
    },

    async *serverStream(request: ConformanceRequest<StreamDefinition>, context: HandlerContext) {
      begin(context, request.responseDefinition);
      yield* answers(context, request.responseDefinition, [request]);
    },

    async *bidiStream(requests: AsyncIterable<ConformanceRequest<StreamDefinition>>, context: HandlerContext) {
      let first: ConformanceRequest<StreamDefinition> | undefined;
      let untold: Message[] = [];
      let sent = 0;
      for await (const request of requests) {
        if (first === undefined) begin(context, request.responseDefinition);
        first ??= request;
        untold.push(request);
        if (!first.fullDuplex) continue;
        const data = first.responseDefinition?.responseData[sent];
        if (data === undefined) break;
        await Bun.sleep(first.responseDefinition!.responseDelayMs);
        yield { payload: { data, requestInfo: info(context, untold, sent === 0) } };
        sent++;
        untold = [];
      }
      yield* answers(context, first?.responseDefinition, untold, sent);
    },
  };
}

function toHeaders(fields: Iterable<[string, string]>): Array<{ name: string; value: string[] }> {
  return Array.from(fields, ([name, value]) => ({ name, value: [value] }));
}

function addHeaders(to: Headers, fields: readonly Header[]): void {
  for (const { name, value } of fields) for (const each of value) to.append(name, each);
}
