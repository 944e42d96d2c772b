import { createFileRegistry, type DescMessage, type FileRegistry, fromBinary, type Message } from "@bufbuild/protobuf";
import { type Any, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

export interface Header {
  name: string;
  value: string[];
}

export interface ErrorDefinition {
  code: number;
  message?: string;
  details: Any[];
}

/** Of both kinds of response definition, what tells how to answer. */
export interface ResponseDefinition {
  responseHeaders: Header[];
  responseTrailers: Header[];
  responseDelayMs: number;
}

export interface UnaryDefinition extends ResponseDefinition {
  response:
    | { case: "responseData"; value: Uint8Array }
    | { case: "error"; value: ErrorDefinition }
    | { case: undefined };
}

export interface StreamDefinition extends ResponseDefinition {
  responseData: Uint8Array[];
  error?: ErrorDefinition;
}

export type ConformanceRequest<Definition> = Message & { responseDefinition?: Definition; fullDuplex?: boolean };

/** The suite's messages and its service, from the descriptors that `make conformance-connect` builds. */
export class ConformanceSchema {
  private constructor(readonly registry: FileRegistry) {}

  static async load(path: string): Promise<ConformanceSchema> {
    return new ConformanceSchema(createFileRegistry(fromBinary(FileDescriptorSetSchema, await Bun.file(path).bytes())));
  }

  message(name: string): DescMessage {
    return required(this.registry.getMessage(`connectrpc.conformance.v1.${name}`), name);
  }

  get service() {
    return required(this.registry.getService("connectrpc.conformance.v1.ConformanceService"), "the service");
  }
}

function required<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new Error(`the descriptors have no ${name}`);
  return value;
}
