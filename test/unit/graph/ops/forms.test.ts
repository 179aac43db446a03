import { allOpRows } from "../../../../src/graph/ops/index.ts";
import cases from "../../../fixtures/ops/forms.json";
import { describeOps } from "../../../helpers/op_cases.ts";

describeOps("tensors in other forms", await allOpRows(), cases);
