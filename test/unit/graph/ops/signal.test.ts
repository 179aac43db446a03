import { allOpRows } from "../../../../src/graph/ops/index.ts";
import cases from "../../../fixtures/ops/signal.json";
import { describeOps } from "../../../helpers/op_cases.ts";

describeOps("signals and special functions", await allOpRows(), cases);
