import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import {
  type ServerReflection,
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import * as v1alpha from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import type { DescriptorIndex } from "./descriptor-index.ts";
import { untilAborted } from "./until-aborted.ts";

type Question = ServerReflectionRequest["messageRequest"];
type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]>;

function failed(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}

function files(fileDescriptorProto: Uint8Array<ArrayBuffer>[] | undefined, what: string): Answer {
  if (fileDescriptorProto === undefined) return failed(Code.NotFound, `${what} is not known`);
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

function answer(question: Question, index: DescriptorIndex): Answer {
  switch (question.case) {
    case "listServices":
      return { case: "listServicesResponse", value: { service: index.services.map((name) => ({ name })) } };
    case "fileByFilename":
      return files(index.fileByName(question.value), question.value);
    case "fileContainingSymbol":
      return files(index.fileContainingSymbol(question.value), question.value);
    case "fileContainingExtension":
      // None of the files declares extensions.
      return failed(Code.NotFound, `extension ${question.value.extensionNumber} is not known`);
    case "allExtensionNumbersOfType":
      if (!index.isMessage(question.value)) return failed(Code.NotFound, `${question.value} is not known`);
      return { case: "allExtensionNumbersResponse", value: { baseTypeName: question.value, extensionNumber: [] } };
    default:
      return failed(Code.InvalidArgument, "the request asks nothing");
  }
}

function respond(request: ServerReflectionRequest, index: DescriptorIndex): ServerReflectionResponse {
  return create(ServerReflectionResponseSchema, {
    validHost: request.host,
    originalRequest: request,
    messageResponse: answer(request.messageRequest, index),
  });
}

/**
 * grpc.reflection.v1, and v1alpha, the same on the wire under another package name (older tools know only that one).
 * Streams end when `closing` aborts.
 */
export function createReflectionServices(
  index: DescriptorIndex,
  closing: AbortSignal,
): { v1: ServiceImpl<typeof ServerReflection>; v1alpha: ServiceImpl<typeof v1alpha.ServerReflection> } {
  return {
    v1: {
      async *serverReflectionInfo(requests) {
        for await (const request of untilAborted(requests, closing)) yield respond(request, index);
      },
    },
    v1alpha: {
      async *serverReflectionInfo(requests) {
        for await (const request of untilAborted(requests, closing)) {
          const wire = toBinary(v1alpha.ServerReflectionRequestSchema, request);
          const response = respond(fromBinary(ServerReflectionRequestSchema, wire), index);
          yield fromBinary(v1alpha.ServerReflectionResponseSchema, toBinary(ServerReflectionResponseSchema, response));
        }
      },
    },
  };
}
