import { create, toBinary } from "@bufbuild/protobuf";
import { invalidArgument, StatusError, unimplemented } from "../../base/status.ts";
import { TensorProtoSchema } from "../../gen/tensorflow/core/framework/tensor_pb.ts";
import { type DType, wireOfDType } from "../../tensor/dtype.ts";
import { sizeOf, type Tensor, tensor } from "../../tensor/tensor.ts";
import { bytesOfTensor } from "../../tensor/tensor_bytes.ts";
import { tensorToProto } from "../../tensor/tensor_proto.ts";
import { decodeTensorProto } from "../../tensor/tensor_wire.ts";
import { bytesOf } from "./bytes.ts";
import { formatShape, makeTensor, toNumbers } from "./kernel_util.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";
import { int64Matrix, int64Vector, type Place, pickPlaces, readSparse } from "./sparse_tensor.ts";

/** 値を `tensor_content` に詰めた TensorProto。 */
function asContent(value: Tensor): Uint8Array {
  return toBinary(
    TensorProtoSchema,
    create(TensorProtoSchema, {
      dtype: wireOfDType(value.dtype),
      tensorShape: { dim: value.shape.map((size) => ({ size: BigInt(size) })) },
      tensorContent: bytesOfTensor(value),
    }),
  );
}

function parse(bytes: Uint8Array, complaint: string): Tensor {
  try {
    return decodeTensorProto(bytes);
  } catch (thrown) {
    if (thrown instanceof StatusError) throw invalidArgument(complaint, thrown);
    throw thrown;
  }
}

const serializeTensor: HostKernel = ([x]) => {
  // 文字列だけは、要素ごとの欄に入る。
  const bytes = x!.dtype === "string" ? toBinary(TensorProtoSchema, tensorToProto(x!)) : asContent(x!);
  return tensor("string", [], [bytes]);
};

const parseTensor = (node: OpNode): HostKernel => {
  const wanted = node.attrs.dtype("out_type");
  return ([serialized]) => {
    if (serialized!.shape.length !== 0) {
      throw invalidArgument(
        `Expected \`serialized\` to be a scalar, got shape: ${formatShape(serialized!.shape)}`,
      );
    }
    const value = parse(bytesOf(serialized!)[0]!, "Could not parse `serialized` as TensorProto");
    if (value.dtype !== wanted) {
      throw invalidArgument(
        `Type mismatch between parsed tensor (${value.dtype}) and dtype (${wanted ?? "resource"})`,
      );
    }
    return value;
  };
};

function onlyStrings(node: OpNode): void {
  if (node.attrs.dtype("out_type") !== "string") {
    throw unimplemented("Sparse tensors as variants are not supported");
  }
}

const serializeSparse = (node: OpNode): HostKernel => {
  onlyStrings(node);
  return (inputs) => {
    readSparse(inputs[0]!, inputs[1]!, inputs[2]!);
    return tensor("string", [3], inputs.map(asContent));
  };
};

/** 先頭の軸に沿って 1 枚ずつに分けて直列化する。 */
const serializeManySparse = (node: OpNode): HostKernel => {
  onlyStrings(node);
  return ([indices, values, shapeTensor]) => {
    const { rank, indices: at, shape } = readSparse(indices!, values!, shapeTensor!);
    if (rank < 2) throw invalidArgument(`Rank of input SparseTensor should be > 1, but saw rank: ${rank}`);
    const count = shape[0]!;
    const rows = Array.from({ length: count }, (): number[] => []);
    for (let row = 0; row < values!.data.length; row++) {
      const owner = at[row * rank]!;
      if (owner < 0 || owner >= count) {
        throw invalidArgument(
          `Received unexpected column 0 value in input SparseTensor: ${owner} < 0 (or >= N (= ${count}))`,
        );
      }
      rows[owner]!.push(row);
    }
    const inner = asContent(int64Vector(shape.slice(1)));
    const texts = rows.flatMap((own) => [
      asContent(
        int64Matrix(
          own.flatMap((row) => at.slice(row * rank + 1, (row + 1) * rank)),
          rank - 1,
        ),
      ),
      asContent(
        pickPlaces(
          values!.dtype,
          [values!],
          own.map((index) => ({ source: 0, index })),
        ),
      ),
      inner,
    ]);
    return tensor("string", [count, 3], texts);
  };
};

/** 直列化された疎なテンソルの列を、1 つ上の階数の疎なテンソルに重ねる。 */
function stack(serialized: Tensor, dtype: DType | undefined): Tensor[] {
  const outer = serialized.shape.slice(0, -1);
  if (serialized.shape.at(-1) !== 3) {
    throw invalidArgument(
      `Serialized sparse should have 3 as the last dimension but received shape ${formatShape(serialized.shape)}`,
    );
  }
  const texts = bytesOf(serialized);
  const parts = Array.from({ length: sizeOf(outer) }, (_, n) => {
    const [indices, values, shape] = ["indices", "values", "shape"].map((role, k) =>
      parse(texts[n * 3 + k]!, `Could not construct Tensor serialized_sparse[${n}, ${k}] (${role})`),
    );
    if (values!.dtype !== dtype) {
      throw invalidArgument(
        `Requested SparseTensor of type ${dtype ?? "variant"} but SparseTensor[${n}].values.dtype() == ${values!.dtype}`,
      );
    }
    return readSparse(indices!, values!, shape!);
  });
  const rank = parts[0]?.rank ?? 0;
  const inner = new Array<number>(rank).fill(0);
  const coordinates: number[] = [];
  const places: Place[] = [];
  for (const [n, part] of parts.entries()) {
    if (part.rank !== rank) {
      throw invalidArgument(
        `Inconsistent rank across SparseTensors: rank prior to SparseTensor[${n}] was: ${rank} but rank of SparseTensor[${n}] is: ${part.rank}`,
      );
    }
    for (const [axis, dim] of part.shape.entries()) inner[axis] = Math.max(inner[axis]!, dim);
    let rest = n;
    const place = outer.toReversed().map((dim) => {
      const index = rest % dim;
      rest = (rest - index) / dim;
      return index;
    });
    for (let row = 0; row < part.values.data.length; row++) {
      coordinates.push(...place.toReversed(), ...part.indices.slice(row * rank, (row + 1) * rank));
      places.push({ source: n, index: row });
    }
  }
  const sources = parts.map(({ values }) => values);
  const values =
    sources.length === 0
      ? makeTensor(dtype!, [0], tensor("string", [0], []).data)
      : pickPlaces(dtype!, sources, places);
  return [int64Matrix(coordinates, outer.length + rank), values, int64Vector([...outer, ...inner])];
}

const deserializeSparse = (node: OpNode): HostKernel => {
  const dtype = node.attrs.dtype("dtype");
  return ([serialized]) => stack(serialized!, dtype);
};

const deserializeManySparse = (node: OpNode): HostKernel => {
  const dtype = node.attrs.dtype("dtype");
  return ([serialized]) => {
    if (serialized!.shape.length !== 2) {
      throw invalidArgument(
        `Serialized sparse should be a matrix but received shape ${formatShape(serialized!.shape)}`,
      );
    }
    return stack(serialized!, dtype);
  };
};

/** 平らな番号を、軸ごとの添字に戻す。 */
const unravelIndex: HostKernel = ([indices, dims]) => {
  const sizes = toNumbers(dims!);
  const total = sizes.reduce((product, size) => product * size, 1);
  const flat = toNumbers(indices!);
  if (flat.some((index) => index < 0 || index >= total)) {
    throw invalidArgument("index is out of bound as with dims");
  }
  const columns = flat.map((index) => {
    let rest = index;
    return sizes
      .toReversed()
      .map((size) => {
        const at = rest % size;
        rest = (rest - at) / size;
        return at;
      })
      .reverse();
  });
  const values = sizes.flatMap((_, axis) => columns.map((column) => column[axis]!));
  const shape = indices!.shape.length === 0 ? [sizes.length] : [sizes.length, flat.length];
  if (indices!.dtype === "int64") return tensor("int64", shape, BigInt64Array.from(values, BigInt));
  return tensor("int32", shape, Int32Array.from(values));
};

/** テンソルと文字列の行き来。 */
export const serializeOps: readonly OpRow[] = [
  { op: "SerializeTensor", host: () => serializeTensor },
  { op: "ParseTensor", host: parseTensor },
  { op: "SerializeSparse", host: serializeSparse },
  { op: "SerializeManySparse", host: serializeManySparse },
  { op: "DeserializeSparse", host: deserializeSparse },
  { op: "DeserializeManySparse", host: deserializeManySparse },
  { op: "UnravelIndex", host: () => unravelIndex },
];
