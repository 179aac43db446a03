import type { DescFile, DescMessage, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { descriptorBytes } from "../base/descriptors.ts";
import { notFound, StatusError, unimplemented } from "../base/status.ts";
import {
  ServerReflection,
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { bidiStream, messageCodec, type Rpc } from "./service_definition.ts";

type Request = MessageShape<typeof ServerReflectionRequestSchema>;
type Response = MessageInitShape<typeof ServerReflectionResponseSchema>;
type Answer = Response["messageResponse"];

/** ファイルと、それが直接・間接に読み込むものすべて。自分が先頭で、どれも自分が読み込むものより前に並ぶ。 */
function withDependencies(root: DescFile): readonly DescFile[] {
  const seen = new Set<DescFile>();
  const leavesFirst: DescFile[] = [];
  const visit = (file: DescFile): void => {
    if (seen.has(file)) return;
    seen.add(file);
    file.dependencies.forEach(visit);
    leavesFirst.push(file);
  };
  visit(root);
  return leavesFirst.reverse();
}

const nameOf = (file: DescFile): string => `${file.name}.proto`;

/** 記述の索引。初めて尋ねられたときに 1 度だけ作る。 */
class DescriptorIndex {
  readonly files = new Map<string, DescFile>();
  /** 完全な名前 → 定義のあるファイル。 */
  readonly symbols = new Map<string, DescFile>();
  readonly messages = new Set<string>();

  constructor(services: Iterable<DescService>) {
    for (const file of new Set([...services].flatMap(({ file }) => withDependencies(file)))) this.#add(file);
  }

  #add(file: DescFile): void {
    this.files.set(nameOf(file), file);
    for (const service of file.services) {
      this.symbols.set(service.typeName, file);
      for (const { name } of service.methods) this.symbols.set(`${service.typeName}.${name}`, file);
    }
    for (const type of nestedTypes(file)) {
      this.symbols.set(type.typeName, file);
      if (type.kind === "message") this.#addMessage(type, file);
      // 列挙の値の名前は、列挙そのものではなくその外側に属する。
      if (type.kind === "enum") {
        const scope = type.typeName.slice(0, type.typeName.lastIndexOf(".") + 1);
        for (const { name } of type.values) this.symbols.set(scope + name, file);
      }
    }
  }

  #addMessage({ typeName, fields, oneofs }: DescMessage, file: DescFile): void {
    this.messages.add(typeName);
    for (const { name } of [...fields, ...oneofs]) this.symbols.set(`${typeName}.${name}`, file);
  }
}

/** 1 つの流れの中で、もう送った依存は繰り返さない。求められたファイル自身は何度でも送る。 */
function fileResponse(file: DescFile | undefined, sent: Set<DescFile>, missing: string): Answer {
  if (file === undefined) throw notFound(missing);
  const files = withDependencies(file).filter((one) => one === file || !sent.has(one));
  for (const one of files) sent.add(one);
  return {
    case: "fileDescriptorResponse",
    value: { fileDescriptorProto: files.map(descriptorBytes) },
  };
}

function answer(
  index: DescriptorIndex,
  services: readonly string[],
  sent: Set<DescFile>,
  { messageRequest: { case: kind, value } }: Request,
): Answer {
  switch (kind) {
    case "listServices":
      return { case: "listServicesResponse", value: { service: services.map((name) => ({ name })) } };
    case "fileByFilename":
      return fileResponse(index.files.get(value), sent, "File not found.");
    case "fileContainingSymbol":
      return fileResponse(index.symbols.get(value), sent, "Symbol not found.");
    case "fileContainingExtension": {
      // どの型も拡張を持たない。
      throw notFound(`${index.messages.has(value.containingType) ? "Extension" : "Type"} not found.`);
    }
    case "allExtensionNumbersOfType": {
      if (!index.messages.has(value)) throw notFound("Type not found.");
      return { case: "allExtensionNumbersResponse", value: { baseTypeName: value, extensionNumber: [] } };
    }
    default:
      throw unimplemented("");
  }
}

/**
 * サーバー反射。v1 と v1alpha はパッケージ名だけが違い、ワイヤは同じなので、同じ変換を使う。
 *
 * @param services 公開しているサービス(反射自身は足される)。
 * @see https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
 */
export function reflectionRpcs(services: Iterable<DescService>): readonly Rpc[] {
  const all = [...new Set([...services, ServerReflection, ServerReflectionAlpha])];
  let index: DescriptorIndex | undefined;
  const names = all.map(({ typeName }) => typeName);
  const open = () => {
    const sent = new Set<DescFile>();
    index ??= new DescriptorIndex(all);
    const known = index;
    return (request: Request): Response => {
      const common = { validHost: request.host, originalRequest: request };
      try {
        return { ...common, messageResponse: answer(known, names, sent, request) };
      } catch (thrown) {
        const { code, message } = StatusError.from(thrown);
        return {
          ...common,
          messageResponse: { case: "errorResponse", value: { errorCode: code, errorMessage: message } },
        };
      }
    };
  };
  const codec = messageCodec(ServerReflectionRequestSchema, ServerReflectionResponseSchema);
  return [ServerReflection, ServerReflectionAlpha].map((service) =>
    bidiStream(service.method.serverReflectionInfo, codec, open),
  );
}
