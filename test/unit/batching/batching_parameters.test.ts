import { describe, expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { toBatchingParameters } from "../../../src/batching/batching_parameters.ts";
import { BatchingParametersSchema } from "../../../src/gen/tensorflow_serving/servables/tensorflow/session_bundle_config_pb.ts";

const read = (fields: MessageInitShape<typeof BatchingParametersSchema> | undefined) =>
  toBatchingParameters(fields === undefined ? undefined : create(BatchingParametersSchema, fields), 4);

describe("toBatchingParameters()", () => {
  test("fills in the defaults", () => {
    const defaults = {
      numBatchThreads: 4,
      queue: {
        maxBatchSize: 1000,
        batchTimeoutMs: 0,
        maxEnqueuedBatches: 10,
        allowedBatchSizes: [],
        padVariableLengthInputs: false,
        enableLargeBatchSplitting: false,
        maxExecutionBatchSize: 1000,
      },
    };
    expect(read(undefined)).toEqual(defaults);
    expect(read({})).toEqual(defaults);
  });

  test("reads every field", () => {
    expect(
      read({
        maxBatchSize: 8n,
        batchTimeoutMicros: 1500n,
        maxEnqueuedBatches: 3n,
        numBatchThreads: 2n,
        enableLargeBatchSplitting: true,
        maxExecutionBatchSize: 4n,
        allowedBatchSizes: [2n, 8n],
        padVariableLengthInputs: true,
      }),
    ).toEqual({
      numBatchThreads: 2,
      queue: {
        maxBatchSize: 8,
        batchTimeoutMs: 1.5,
        maxEnqueuedBatches: 3,
        allowedBatchSizes: [2, 8],
        padVariableLengthInputs: true,
        enableLargeBatchSplitting: true,
        maxExecutionBatchSize: 4,
      },
    });
  });

  test("takes max_batch_size as the execution size when splitting, and 0 enqueued batches as 1 when not", () => {
    expect(read({ maxBatchSize: 8n, enableLargeBatchSplitting: true }).queue.maxExecutionBatchSize).toBe(8);
    expect(read({ maxEnqueuedBatches: 0n }).queue.maxEnqueuedBatches).toBe(1);
  });

  test("refuses what makes no queue", () => {
    const rows: [MessageInitShape<typeof BatchingParametersSchema>, string][] = [
      [{ numBatchThreads: 0n }, "num_batch_threads must be positive; was 0"],
      [{ maxBatchSize: 0n }, "input_batch_size_limit must be positive; was 0"],
      [{ batchTimeoutMicros: -5n }, "batch_timeout_micros must be non-negative; was -5"],
      [
        { maxEnqueuedBatches: 0n, maxBatchSize: 4n, enableLargeBatchSplitting: true },
        "max_enqueued_batches must be positive; was 0",
      ],
      [
        { maxBatchSize: 4n, allowedBatchSizes: [4n, 2n] },
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 2; expected 4",
      ],
      [
        { allowedBatchSizes: [2n, 8n] },
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 1000",
      ],
      [
        { maxBatchSize: 4n, maxExecutionBatchSize: 16n, enableLargeBatchSplitting: true },
        "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to max_execution_batch_size.1416",
      ],
      [{ enableLargeBatchSplitting: true }, "max_execution_batch_size must be positive; was 0"],
    ];
    for (const [fields, message] of rows) expect(() => read(fields)).toThrow(message);
  });
});
