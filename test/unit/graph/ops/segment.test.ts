import { bincountOps } from "../../../../src/graph/ops/bincount.ts";
import { layoutOps } from "../../../../src/graph/ops/layout.ts";
import { segmentOps } from "../../../../src/graph/ops/segment.ts";
import { shapeOps } from "../../../../src/graph/ops/shape.ts";
import segment from "../../../fixtures/ops/segment.json";
import { describeOps } from "../../../helpers/op_cases.ts";

describeOps("segment", [...segmentOps, ...bincountOps, ...shapeOps, ...layoutOps], segment);
