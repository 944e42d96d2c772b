import { type AnyDesc, type DescFile, type DescMessage, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

/** Answers reflection's questions about a set of files and all they import. */
export class DescriptorIndex {
  private readonly files = new Map<string, DescFile>();
  private readonly symbols = new Map<string, DescFile>();
  private readonly messages = new Set<string>();
  private readonly serialised = new Map<DescFile, Uint8Array<ArrayBuffer>>();
  /** Fully qualified names of the services in the files given, in order. */
  readonly services: readonly string[];

  constructor(roots: readonly DescFile[]) {
    for (const file of roots) this.addFile(file);
    this.services = roots.flatMap((file) => file.services.map((service) => service.typeName));
  }

  /** The serialised file with this name and then everything it imports; undefined when unknown. */
  fileByName(name: string): Uint8Array<ArrayBuffer>[] | undefined {
    return this.withImports(this.files.get(name));
  }

  /** The same for the file that declares a service, method, message, field, oneof, enum or enum value. */
  fileContainingSymbol(symbol: string): Uint8Array<ArrayBuffer>[] | undefined {
    return this.withImports(this.symbols.get(symbol));
  }

  isMessage(typeName: string): boolean {
    return this.messages.has(typeName);
  }

  private addFile(file: DescFile): void {
    if (this.files.has(file.proto.name)) return;
    this.files.set(file.proto.name, file);
    for (const dependency of file.dependencies) this.addFile(dependency);
    for (const service of file.services) {
      this.addSymbol(service.typeName, file);
      for (const method of service.methods) this.addSymbol(`${service.typeName}.${method.name}`, file);
    }
    for (const message of file.messages) this.addMessage(message, file);
    for (const descEnum of file.enums) this.addEnum(descEnum, file);
  }

  private addMessage(message: DescMessage, file: DescFile): void {
    this.addSymbol(message.typeName, file);
    this.messages.add(message.typeName);
    for (const { name } of [...message.fields, ...message.oneofs]) this.addSymbol(`${message.typeName}.${name}`, file);
    for (const nested of message.nestedMessages) this.addMessage(nested, file);
    for (const nested of message.nestedEnums) this.addEnum(nested, file);
  }

  private addEnum(descEnum: Extract<AnyDesc, { kind: "enum" }>, file: DescFile): void {
    this.addSymbol(descEnum.typeName, file);
    // A value's scope is that of its enum, as in C.
    const scope = descEnum.typeName.slice(0, descEnum.typeName.length - descEnum.name.length);
    for (const value of descEnum.values) this.addSymbol(scope + value.name, file);
  }

  private addSymbol(name: string, file: DescFile): void {
    this.symbols.set(name, file);
  }

  private withImports(root: DescFile | undefined): Uint8Array<ArrayBuffer>[] | undefined {
    if (root === undefined) return undefined;
    const reached = new Set<DescFile>([root]);
    for (const file of reached) for (const dependency of file.dependencies) reached.add(dependency);
    return [...reached].map((file) => this.bytesOf(file));
  }

  private bytesOf(file: DescFile): Uint8Array<ArrayBuffer> {
    let bytes = this.serialised.get(file);
    if (bytes === undefined) this.serialised.set(file, (bytes = toBinary(FileDescriptorProtoSchema, file.proto)));
    return bytes;
  }
}
