import type { Epoch } from "./fit.ts";
import { type Axis, frameOf, px, svg } from "./svg.ts";

/** 学習曲線 1 枚。学習側と試験側の 2 本。 */
function curve(
  epochs: number,
  yAxis: Axis,
  training: readonly number[],
  heldOut: readonly number[],
  name: string,
): string {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => Math.round(part * epochs));
  const frame = frameOf(
    460,
    280,
    { domain: [0, epochs], ticks: [...new Set(ticks)], format: String, title: "epoch" },
    yAxis,
  );
  const line = (values: readonly number[], style: string): string => {
    const points = values.map((value, i) => {
      const shown = Math.min(yAxis.domain[1], Math.max(yAxis.domain[0], value));
      return `${px(frame.x(i + 1))},${px(frame.y(shown))}`;
    });
    return `<polyline class="curve ${style}" points="${points.join(" ")}"/>`;
  };
  return svg(frame, name, line(heldOut, "held-out") + line(training, "training"));
}

/** 損失と精度の学習曲線。 */
export function learningCurves(epochs: readonly Epoch[]): {
  readonly loss: string;
  readonly accuracy: string;
} {
  const losses = epochs.flatMap(({ loss, heldOutLoss }) => [loss, heldOutLoss]);
  const lossTicks = [0.01, 0.03, 0.1, 0.3, 1, 3, 10];
  const bottom = lossTicks.findLast((tick) => tick <= Math.min(...losses)) ?? lossTicks[0]!;
  const top = lossTicks.find((tick) => tick >= Math.max(...losses)) ?? lossTicks.at(-1)!;
  return {
    loss: curve(
      epochs.length,
      {
        domain: [bottom, top],
        logarithmic: true,
        ticks: lossTicks.filter((tick) => tick >= bottom && tick <= top),
        format: String,
        title: "log loss",
      },
      epochs.map(({ loss }) => loss),
      epochs.map(({ heldOutLoss }) => heldOutLoss),
      "Log loss per epoch",
    ),
    accuracy: curve(
      epochs.length,
      {
        domain: [0.2, 1],
        ticks: [0.2, 0.4, 0.6, 0.8, 1],
        format: (value) => `${(100 * value).toFixed(0)} %`,
        title: "accuracy",
      },
      epochs.map(({ accuracy }) => accuracy),
      epochs.map(({ heldOutAccuracy }) => heldOutAccuracy),
      "Accuracy per epoch",
    ),
  };
}
