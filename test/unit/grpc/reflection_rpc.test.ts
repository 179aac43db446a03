import { expect, test } from "bun:test";
import { EventEmitter } from "node:events";
import { create, createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import type { Server } from "@grpc/grpc-js";
import {
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
} from "../../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import { reflectionRpcs } from "../../../src/grpc/reflection_rpc.ts";

/** 拡張を持つ、ありえたかもしれないサービス。 */
const registry = createFileRegistry(
  create(FileDescriptorSetSchema, {
    file: [
      {
        name: "base.proto",
        package: "p",
        syntax: "proto2",
        messageType: [{ name: "M", extensionRange: [{ start: 100, end: 200 }] }],
      },
      {
        name: "service.proto",
        package: "p",
        syntax: "proto2",
        dependency: ["base.proto"],
        service: [{ name: "S", method: [{ name: "Call", inputType: ".p.M", outputType: ".p.M" }] }],
        extension: [100, 150].map((number) => ({
          name: `e${number}`,
          number,
          type: Type.INT32,
          label: Label.OPTIONAL,
          extendee: ".p.M",
        })),
      },
    ],
  }),
);

/** 流れを 1 つ開き、尋ねて答えを得る。 */
function ask(
  messageRequest: ServerReflectionRequest["messageRequest"],
): ServerReflectionResponse["messageResponse"] {
  let handler: (call: EventEmitter) => void = () => {};
  const server = { register: (_: string, given: typeof handler) => (handler = given) } as unknown as Server;
  const [rpc] = reflectionRpcs([registry.getService("p.S")!], new AbortController().signal);
  rpc!.register(server);
  const replies: ServerReflectionResponse[] = [];
  const call = Object.assign(new EventEmitter(), { write: (reply: never) => replies.push(reply), end() {} });
  handler(call);
  call.emit("data", create(ServerReflectionRequestSchema, { messageRequest }));
  return replies[0]!.messageResponse;
}

const extension = (extensionNumber: number) =>
  ({
    case: "fileContainingExtension",
    value: { $typeName: "grpc.reflection.v1.ExtensionRequest", containingType: "p.M", extensionNumber },
  }) as const;

test("lists the numbers of the extensions of a type", () => {
  expect(ask({ case: "allExtensionNumbersOfType", value: "p.M" }).value).toMatchObject({
    baseTypeName: "p.M",
    extensionNumber: [100, 150],
  });
});

test("finds the file of an extension by number and by name, before the files it imports", () => {
  for (const question of [extension(150), { case: "fileContainingSymbol", value: "p.e150" } as const]) {
    const answer = ask(question);
    if (answer.case !== "fileDescriptorResponse") throw new Error(`answered ${answer.case}`);
    const names = answer.value.fileDescriptorProto.map(
      (bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name,
    );
    expect(names).toEqual(["service.proto", "base.proto"]);
  }
});

test("an extension nobody declared is not found", () => {
  expect(ask(extension(101)).value).toMatchObject({ errorMessage: "Extension not found." });
});
