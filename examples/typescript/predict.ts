// Asks a model server about one flower, by REST and by gRPC, and shows that failures are typed.
//
//	bun examples/typescript/predict.ts
//
// REST_SERVER defaults to http://localhost:8501, GRPC_SERVER to localhost:8500.
import { Code, codeName, StatusError } from "../../src/base/status.ts";
import { GrpcClient } from "../../src/client/grpc_client.ts";
import { RestClient } from "../../src/client/rest_client.ts";
import { tensor } from "../../src/tensor/tensor.ts";

const labels = ["setosa", "versicolor", "virginica"];
const flower = [5.1, 3.5, 1.4, 0.2];
const iris = { name: "iris" };

function show(how: string, probabilities: ArrayLike<number>): void {
  const text = labels.map((label, i) => `${label} ${probabilities[i]?.toFixed(6)}`);
  console.log(`${how.padEnd(5)}${text.join("  ")}`);
}

const rest = new RestClient({
  origin: process.env["REST_SERVER"] ?? "http://localhost:8501",
  timeoutMs: 5000,
});
const [row] = (await rest.predict(iris, { instances: [flower] })) as number[][];
show("REST", row ?? []);
for (const { version, state } of await rest.getModelStatus(iris))
  console.log(`version ${version} is ${state}`);

using grpc = new GrpcClient({ address: process.env["GRPC_SERVER"] ?? "localhost:8500", timeoutMs: 5000 });
const input = tensor("float", [1, 4], Float32Array.from(flower));
const { model, outputs } = await grpc.predict(iris, new Map([["input", input]]));
const output = outputs.get("output");
if (output?.dtype !== "float") throw new Error("the model has no float output called output");
show("gRPC", output.data);
console.log(`answered by version ${model.version}, signature ${model.signatureName}`);

const { signatures } = await grpc.getModelMetadata(iris);
console.log(`signatures: ${[...signatures.keys()].sort().join(", ")}`);

// A refused call throws a StatusError with the server's code, whichever door was used.
for (const ask of [
  () => rest.getModelMetadata({ name: "tulip" }),
  () => grpc.getModelMetadata({ name: "tulip" }),
]) {
  try {
    await ask();
    throw new Error("a model called tulip was not expected");
  } catch (error) {
    if (!(error instanceof StatusError) || error.code !== Code.NOT_FOUND) throw error;
    console.log(`${codeName(error.code)}: ${error.message}`);
  }
}
