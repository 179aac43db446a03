import { allOpRows } from "../../../../src/graph/ops/index.ts";
import cases from "../../../fixtures/ops/linalg.json";
import { describeOps } from "../../../helpers/op_cases.ts";

describeOps("linear algebra", await allOpRows(), cases);
