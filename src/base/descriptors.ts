import type { DescField, DescFile, DescMethod, DescOneof, Message } from "@bufbuild/protobuf";
import type {
  GenEnum,
  GenFile,
  GenMessage,
  GenService,
  GenServiceMethods,
} from "@bufbuild/protobuf/codegenv2";

// src/gen のどのファイルも、読み込まれるとここの関数を呼ぶ。protobuf-es の同名の関数は記述をその場で組み立てるので、
// 使いもしない型のために起動の 4 割が過ぎる。ここでは印だけを作り、その型か同じファイルの型が初めて使われたときに
// ファイルを解く。出来るものは、性質 `proto`(記述の原文)が無いほかは protobuf-es のものと同じ。

interface Raw {
  readonly name: string;
}

interface RawField extends Raw {
  readonly number: number;
  readonly label: number;
  readonly type: number;
  readonly typeName: string;
  /** oneof の番号。`optional` のための、書かれていない oneof も指す。 */
  readonly oneof?: number;
  readonly jsonName?: string;
  readonly isOptional?: number;
  readonly options: readonly { readonly packed?: number; readonly deprecated?: number }[];
}

interface RawMessage extends Raw {
  readonly fields: readonly RawField[];
  readonly messages: readonly RawMessage[];
  readonly enums: readonly RawEnum[];
  readonly oneofs: readonly Raw[];
  readonly options: readonly { readonly isMapEntry?: number }[];
}

interface RawEnum extends Raw {
  readonly values: readonly (Raw & { readonly number?: number })[];
}

interface RawMethod extends Raw {
  readonly input: string;
  readonly output: string;
  readonly isClientStreaming?: number;
  readonly isServerStreaming?: number;
}

interface RawFile extends Raw {
  readonly package: string;
  readonly syntax?: string;
  readonly messages: readonly RawMessage[];
  readonly enums: readonly RawEnum[];
  readonly services: readonly (Raw & { readonly methods: readonly RawMethod[] })[];
}

/** 番号 → 名前と、数か文字列か、メッセージの列か。 */
type Shape = { [number: number]: readonly [name: string, kind: "number" | "text" | Shape] };

// @see google/protobuf/descriptor.proto
const enumShape: Shape = {
  1: ["name", "text"],
  2: ["values", { 1: ["name", "text"], 2: ["number", "number"] }],
};
const fieldShape: Shape = {
  1: ["name", "text"],
  3: ["number", "number"],
  4: ["label", "number"],
  5: ["type", "number"],
  6: ["typeName", "text"],
  8: ["options", { 2: ["packed", "number"], 3: ["deprecated", "number"] }],
  9: ["oneof", "number"],
  10: ["jsonName", "text"],
  17: ["isOptional", "number"],
};
const messageShape: Shape = {
  1: ["name", "text"],
  2: ["fields", fieldShape],
  4: ["enums", enumShape],
  7: ["options", { 7: ["isMapEntry", "number"] }],
  8: ["oneofs", { 1: ["name", "text"] }],
};
messageShape[3] = ["messages", messageShape];
const methodShape: Shape = {
  1: ["name", "text"],
  2: ["input", "text"],
  3: ["output", "text"],
  5: ["isClientStreaming", "number"],
  6: ["isServerStreaming", "number"],
};
const fileShape: Shape = {
  1: ["name", "text"],
  2: ["package", "text"],
  4: ["messages", messageShape],
  5: ["enums", enumShape],
  6: ["services", { 1: ["name", "text"], 2: ["methods", methodShape] }],
  12: ["syntax", "text"],
};

/** 記述の原文を読む。ワイヤの形は varint と長さつきしか使われない。 */
function readRaw(bytes: Buffer, shape: Shape, from: number, to: number): Raw {
  let at = from;
  const varint = (): number => {
    let value = 0;
    // 負の数は 10 バイトになるが、下の 32 ビットで足りる。
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]!;
      if (shift < 32) value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  const raw: Record<string, unknown> = {};
  for (const [name, kind] of Object.values(shape)) if (typeof kind === "object") raw[name] = [];
  while (at < to) {
    const tag = varint();
    const value = varint();
    const end = (tag & 7) === 2 ? at + value : at;
    const known = shape[tag >>> 3];
    if (known !== undefined) {
      const [name, kind] = known;
      if (kind === "number") raw[name] = value;
      else if (kind === "text") raw[name] = bytes.toString("latin1", at, end);
      else (raw[name] as Raw[]).push(readRaw(bytes, kind, at, end));
    }
    at = end;
  }
  return raw as unknown as Raw;
}

/** 長さつきの 3 番。 */
const DEPENDENCY = (3 << 3) | 2;
const STRING = 9;
const MESSAGE = 11;
const BYTES = 12;
const ENUM = 14;
const REPEATED = 3;
/** FieldPresence */
const EXPLICIT = 1;
const IMPLICIT = 2;
/** Edition */
const PROTO2 = 998;
const PROTO3 = 999;

/** `model_spec` → `modelSpec` */
const camelCase = (name: string): string =>
  name.replace(/_+(.?)/g, (_, letter: string) => letter.toUpperCase());

/** 印。初めて性質を尋ねられたときにファイルを解き、以後はただの物になる。 */
class Shell {
  readonly kind: string;
  readonly file: LazyFile;

  constructor(kind: string, file: LazyFile) {
    this.kind = kind;
    this.file = file;
  }

  /** `message tensorflow.TensorProto` */
  toString(): string {
    return `${this.kind} ${Reflect.get(this, "typeName")}`;
  }

  fill(values: object): void {
    Object.defineProperties(
      this,
      Object.fromEntries(Object.entries(values).map(([key, value]) => [key, { value, enumerable: true }])),
    );
  }
}

const shellProperties = [
  ...["name", "typeName", "parent", "deprecated", "fields", "field", "oneofs", "members"],
  ...["nestedEnums", "nestedMessages", "nestedExtensions", "open", "values", "value", "sharedPrefix"],
  ...["methods", "method"],
];
shellProperties.forEach((key) => {
  Object.defineProperty(Shell.prototype, key, {
    get(this: Shell): unknown {
      this.file.open();
      return Object.getOwnPropertyDescriptor(this, key)?.value;
    },
  });
});

class LazyFile {
  readonly kind = "file";
  readonly dependencies: readonly LazyFile[];
  readonly extensions: readonly [] = [];
  readonly deprecated = false;
  readonly #base64: string;
  readonly #shells = new Map<string, Shell>();
  #opened: Contents | undefined;

  constructor(base64: string, dependencies: readonly LazyFile[]) {
    this.#base64 = base64;
    this.dependencies = dependencies;
  }

  /** 記述の原文。`dependency` は書かれていない。 */
  get bytes(): Buffer {
    return Buffer.from(this.#base64, "base64");
  }

  get name(): string {
    return this.open().path.replace(/\.proto$/, "");
  }

  get edition(): number {
    return this.open().isProto3 ? PROTO3 : PROTO2;
  }

  get messages(): readonly Shell[] {
    return this.open().messages;
  }

  get enums(): readonly Shell[] {
    return this.open().enums;
  }

  get services(): readonly Shell[] {
    return this.open().services;
  }

  toString(): string {
    return `file ${this.open().path}`;
  }

  /** @param path ファイルの中の何番目か。入れ子なら、外から順に。 */
  shell(kind: string, path: readonly number[]): Shell {
    const key = `${kind} ${path.join(".")}`;
    let shell = this.#shells.get(key);
    if (shell === undefined) {
      shell = new Shell(kind, this);
      this.#shells.set(key, shell);
    }
    return shell;
  }

  open(): Contents {
    this.#opened ??= new Contents(this);
    return this.#opened;
  }

  /** 直に読み込むファイルを先に探す。その先は `import public` のときだけ要る。 */
  find(typeName: string): Shell {
    const found = this.#own(typeName) ?? this.#near(typeName);
    if (found === undefined) throw new Error(`${typeName} is not defined for ${this.name}`);
    return found;
  }

  #own(typeName: string): Shell | undefined {
    return this.open().types.get(typeName);
  }

  #near(typeName: string): Shell | undefined {
    for (const file of this.dependencies) {
      const found = file.#own(typeName);
      if (found !== undefined) return found;
    }
    for (const file of this.dependencies) {
      const found = file.#near(typeName);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

/** 解いたファイル。ほかの型を指すフィールドは、その型を尋ねられるまで相手のファイルを解かない。 */
class Contents {
  readonly path: string;
  readonly isProto3: boolean;
  readonly messages: readonly Shell[];
  readonly enums: readonly Shell[];
  readonly services: readonly Shell[];
  /** `.tensorflow.TensorProto` → 型。 */
  readonly types = new Map<string, Shell>();
  readonly #file: LazyFile;

  constructor(file: LazyFile) {
    const { bytes } = file;
    const raw = readRaw(bytes, fileShape, 0, bytes.length) as RawFile;
    this.#file = file;
    this.path = raw.name;
    this.isProto3 = raw.syntax === "proto3";
    const scope = `${raw.package}.`;
    this.messages = raw.messages.map((one, i) => this.#message(one, [i], scope, undefined));
    this.enums = raw.enums.map((one, i) => this.#enum(one, [i], scope, undefined));
    this.services = raw.services.map((one, i) => this.#service(one, i, scope));
  }

  #message(raw: RawMessage, path: readonly number[], scope: string, parent: Shell | undefined): Shell {
    const shell = this.#file.shell("message", path);
    const typeName = scope + raw.name;
    const inner = `${typeName}.`;
    const nested = raw.messages.filter(({ options }) => options[0]?.isMapEntry === undefined);
    const entries = new Map(
      raw.messages.filter((one) => !nested.includes(one)).map((one) => [`.${inner}${one.name}`, one]),
    );
    const oneofs = raw.oneofs.map(({ name }) => createOneof(name, shell));
    const fields = raw.fields.map((field) => {
      const oneof = field.oneof === undefined || field.isOptional ? undefined : oneofs[field.oneof];
      return this.#field(field, shell, oneof, entries.get(field.typeName));
    });
    for (const field of fields) field.oneof?.fields.push(field);
    shell.fill({
      name: raw.name,
      typeName,
      parent,
      deprecated: false,
      fields,
      field: Object.fromEntries(fields.map((field) => [field.localName, field])),
      oneofs: oneofs.filter((oneof) => oneof.fields.length > 0),
      members: [...new Set(fields.map((field) => field.oneof ?? field))],
      nestedMessages: nested.map((one, i) => this.#message(one, [...path, i], inner, shell)),
      nestedEnums: raw.enums.map((one, i) => this.#enum(one, [...path, i], inner, shell)),
      nestedExtensions: [],
    });
    this.types.set(`.${typeName}`, shell);
    return shell;
  }

  #field(raw: RawField, parent: Shell, oneof: DescOneof | undefined, entry?: RawMessage): DescField {
    const file = this.#file;
    const { name, number, options } = raw;
    const [key, value = raw] = entry?.fields ?? [];
    const valueKind = value.type === MESSAGE ? "message" : value.type === ENUM ? "enum" : "scalar";
    const isRepeated = raw.label === REPEATED;
    const isTracked = oneof !== undefined || raw.isOptional !== undefined || raw.type === MESSAGE;
    const isPackable = valueKind !== "message" && raw.type !== STRING && raw.type !== BYTES;
    const isList = isRepeated && entry === undefined;
    const localName = camelCase(name);
    const field = {
      kind: "field",
      name,
      number,
      localName,
      jsonName: raw.jsonName ?? localName,
      parent,
      oneof,
      deprecated: options[0]?.deprecated === 1,
      presence: isRepeated || (this.isProto3 && !isTracked) ? IMPLICIT : EXPLICIT,
      utf8Validation: this.isProto3,
      delimitedEncoding: valueKind === "message" || entry !== undefined ? false : undefined,
      longAsString: false,
      fieldKind: entry !== undefined ? "map" : isRepeated ? "list" : valueKind,
      listKind: isList ? valueKind : undefined,
      packed: isList ? isPackable && (options[0]?.packed ?? Number(this.isProto3)) === 1 : undefined,
      mapKey: key?.type,
      mapKind: entry === undefined ? undefined : valueKind,
      scalar: valueKind === "scalar" ? value.type : undefined,
      get message() {
        return valueKind === "message" ? file.find(value.typeName) : undefined;
      },
      get enum() {
        return valueKind === "enum" ? file.find(value.typeName) : undefined;
      },
      // 既定値を書いたフィールドは無い。
      getDefaultValue: isRepeated ? undefined : () => undefined,
      toString: () => `field ${Reflect.get(parent, "typeName")}.${name}`,
    };
    return field as unknown as DescField;
  }

  #enum(raw: RawEnum, path: readonly number[], scope: string, parent: Shell | undefined): Shell {
    const shell = this.#file.shell("enum", path);
    const sharedPrefix = findSharedPrefix(raw);
    const typeName = scope + raw.name;
    const values = raw.values.map(({ name, number = 0 }) => ({
      kind: "enum_value",
      name,
      localName: name.slice(sharedPrefix?.length),
      number,
      jsonName: name,
      parent: shell,
      deprecated: false,
      toString: () => `enum value ${typeName}.${name}`,
    }));
    // 同じ番号が 2 つあれば、先に書かれた名前。
    const value = Object.fromEntries(values.toReversed().map((one) => [one.number, one]));
    shell.fill({
      ...{ name: raw.name, typeName, parent, deprecated: false, open: this.isProto3 },
      ...{ values, value, sharedPrefix },
    });
    this.types.set(`.${typeName}`, shell);
    return shell;
  }

  #service(raw: RawFile["services"][number], index: number, scope: string): Shell {
    const shell = this.#file.shell("service", [index]);
    const typeName = scope + raw.name;
    const methods = raw.methods.map((method) => createMethod(method, shell, this.#file));
    const method = Object.fromEntries(methods.map((one) => [one.localName, one]));
    shell.fill({ name: raw.name, typeName, deprecated: false, methods, method });
    return shell;
  }
}

function createOneof(name: string, parent: Shell): DescOneof {
  const oneof = {
    kind: "oneof",
    name,
    localName: camelCase(name),
    parent,
    fields: [],
    deprecated: false,
    toString: () => `oneof ${Reflect.get(parent, "typeName")}.${name}`,
  };
  return oneof as unknown as DescOneof;
}

function createMethod(raw: RawMethod, parent: Shell, file: LazyFile): DescMethod {
  const { name, input, output, isClientStreaming, isServerStreaming } = raw;
  const client = isClientStreaming ? "bidi_streaming" : "server_streaming";
  const method = {
    kind: "rpc",
    name,
    localName: name[0]!.toLowerCase() + name.slice(1),
    parent,
    methodKind: isServerStreaming ? client : isClientStreaming ? "client_streaming" : "unary",
    get input() {
      return file.find(input);
    },
    get output() {
      return file.find(output);
    },
    idempotency: 0,
    deprecated: false,
    toString: () => `rpc ${Reflect.get(parent, "typeName")}.${name}`,
  };
  return method as unknown as DescMethod;
}

/** 値の名前に共通の、列挙の名前から来る前置き。`enum State { STATE_A }` なら `state_`。 */
function findSharedPrefix({ name, values }: RawEnum): string | undefined {
  const prefix = `${name.replace(/(?!^)[A-Z]/g, "_$&").toLowerCase()}_`;
  const isShared = values.every(
    (value) => value.name.toLowerCase().startsWith(prefix) && /^\D/.test(value.name.slice(prefix.length)),
  );
  return isShared ? prefix : undefined;
}

/** @param base64 FileDescriptorProto。 */
export function fileDesc(base64: string, imports: readonly GenFile[] = []): GenFile {
  return new LazyFile(base64, imports as unknown as readonly LazyFile[]) as unknown as GenFile;
}

const shellOf = (file: GenFile, kind: string, path: readonly number[]): unknown =>
  (file as unknown as LazyFile).shell(kind, path);

export function messageDesc<T extends Message>(file: GenFile, ...path: readonly number[]): GenMessage<T> {
  return shellOf(file, "message", path) as GenMessage<T>;
}

export function enumDesc<T extends number>(file: GenFile, ...path: readonly number[]): GenEnum<T> {
  return shellOf(file, "enum", path) as GenEnum<T>;
}

export function serviceDesc<T extends GenServiceMethods>(file: GenFile, index: number): GenService<T> {
  return shellOf(file, "service", [index]) as GenService<T>;
}

/** 記述の原文(FileDescriptorProto)。埋め込んだものには読み込むファイルの名前が無いので、書き足す。 */
export function descriptorBytes(file: DescFile): Uint8Array {
  const names = file.dependencies.map(({ name }) => Buffer.from(`${name}.proto`));
  const dependencies = names.flatMap((name) => [Uint8Array.of(DEPENDENCY, name.length), name]);
  return Buffer.concat([(file as unknown as LazyFile).bytes, ...dependencies]);
}
