import { allOpRows } from "../../../../src/graph/ops/index.ts";
import cases from "../../../fixtures/ops/complex.json";
import { describeOps } from "../../../helpers/op_cases.ts";

describeOps("complex, bool and string elements", await allOpRows(), cases);
