import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Baselines } from "./baselines.ts";
import { type Dataset, SPECIES } from "./dataset.ts";
import { type CrossValidation, FOLDS, SEED, type Trained } from "./experiment.ts";
import { learningCurves } from "./learning_curves.ts";
import { HYPERPARAMETERS } from "./network.ts";
import { petalPlane, shape } from "./petal_plane.ts";
import type { Spread } from "./scores.ts";
import { escapeHtml, linearScale, px } from "./svg.ts";

const percent = (value: number, digits = 1): string => `${(100 * value).toFixed(digits)} %`;
const plusMinus = ({ mean, sd }: Spread, format: (value: number) => string): string =>
  `${format(mean)} <span class="sd">± ${format(sd)}</span>`;

/** 人が見る学習の報告。1 つの HTML で完結し、外の資源もスクリプトも使わない。 */
export function renderReport(
  dataset: Dataset,
  trained: Trained,
  validated: CrossValidation,
  baselines: Baselines,
): string {
  const { split, weights, curve, heldOut, training } = trained;
  const curves = learningCurves(curve);
  const { hidden, learningRate, weightDecay } = HYPERPARAMETERS;
  const inputs = weights.hiddenKernel.length;
  const parameters = (inputs + 1) * hidden + (hidden + 1) * SPECIES.length;
  const errors = Math.round((1 - heldOut.accuracy) * split.test.length);
  const rowsPredicted = validated.repeats * dataset.rows.length;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Iris classifier: training report</title>
<style>
${readFileSync(join(import.meta.dir, "report.css"), "utf8").trim()}
</style>
</head>
<body>
<main>
<header>
<h1>Iris classifier</h1>
<p>Training report. A ${inputs}–${hidden}–${SPECIES.length} network (Dense → ReLU → Dense → Softmax, ${parameters} parameters) trained with tfjs on the wasm backend: ${curve.length} full-batch Adam steps, learning rate ${learningRate}, weight decay ${weightDecay}, seed ${SEED}.</p>
</header>
<section class="tiles">
${tile("Held-out accuracy", percent(heldOut.accuracy), `${errors} of ${split.test.length} rows wrong`)}
${tile("Cross-validated accuracy", percent(validated.accuracy.mean), `± ${percent(validated.accuracy.sd)} over ${validated.repeats} × ${FOLDS} folds`)}
${tile("Cross-validated log loss", validated.logLoss.mean.toFixed(3), `± ${validated.logLoss.sd.toFixed(3)}`)}
${tile("Training accuracy", percent(training.accuracy), `log loss ${training.logLoss.toFixed(3)}, ${split.train.length} rows`)}
</section>
<section class="card">
<h2>Petal plane</h2>
<p>Decision regions of the exported network; the darker part is decided with at least 90 % probability. The network reads four measurements, so each point of the plane is completed with the sepal size expected for that petal. Marks are judged by their own four values.</p>
${petalPlane(dataset, split, weights)}
<p class="legend">${SPECIES.map((name, k) => `<span><svg class="mark test ${name}" viewBox="0 0 16 16" aria-hidden="true"><g class="test ${name}">${shape(k, 8, 8, 5.5)}</g></svg>${name}</span>`).join("")}<span>large: ${split.test.length} held-out rows</span><span>small: ${split.train.length} training rows</span><span><svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><circle class="wrong" cx="12" cy="12" r="9"/></svg>misclassified</span></p>
</section>
<section class="pair">
<div class="card"><h2>Loss</h2>${curves.loss}${CURVE_LEGEND}</div>
<div class="card"><h2>Accuracy</h2>${curves.accuracy}${CURVE_LEGEND}</div>
</section>
<section class="pair">
<div class="card"><h2>Confusion, held out</h2><p>${split.test.length} rows the network never saw.</p>${confusionTable(heldOut.confusion)}</div>
<div class="card"><h2>Confusion, cross-validation</h2><p>${rowsPredicted} predictions: each row once per repeat.</p>${confusionTable(validated.confusion)}</div>
</section>
<section class="card">
<h2>Against simple baselines</h2>
<p>Mean ± standard deviation over the same ${validated.repeats} × ${FOLDS} stratified folds; standardisation and training see the training part of each fold only. Baselines: ${escapeHtml(baselines.library)}. Each dot is one repeat.</p>
<div class="scroll">${comparison(trained, validated, baselines)}</div>
</section>
</main>
</body>
</html>
`;
}

const CURVE_LEGEND =
  '<p class="legend"><span><i class="swatch training"></i>training</span><span><i class="swatch held-out"></i>held out</span></p>';

function tile(name: string, value: string, note: string): string {
  return `<div class="tile"><span class="name">${name}</span><span class="value">${value}</span><span class="note">${note}</span></div>`;
}

/** 行が正解、列が予測。濃さは行ごとの割合。 */
function confusionTable(confusion: readonly (readonly number[])[]): string {
  const head = SPECIES.map((name) => `<th scope="col">${name}</th>`).join("");
  const body = confusion
    .map((row, label) => {
      const total = row.reduce((sum, count) => sum + count, 0);
      const cells = row
        .map((count, predicted) => {
          const kind = count === 0 ? "zero" : predicted === label ? "right" : "off";
          return `<td class="${kind}" style="--share:${(count / total).toFixed(3)}"><b>${count}</b><small>${percent(count / total)}</small></td>`;
        })
        .join("");
      return `<tr><th scope="row">${SPECIES[label]}</th>${cells}</tr>`;
    })
    .join("");
  return `<table class="confusion"><caption>predicted →</caption><thead><tr><th>actual ↓</th>${head}</tr></thead><tbody>${body}</tbody></table>`;
}

function comparison({ heldOut }: Trained, validated: CrossValidation, { models }: Baselines): string {
  const rows = [
    {
      name: "This network",
      definition: "4–16–3, tfjs",
      crossValidation: validated,
      heldOut,
      own: true,
    },
    ...models.map((model) => ({ ...model, own: false })),
  ];
  const all = rows.flatMap(({ crossValidation }) => crossValidation.accuracyByRepeat);
  const range = [Math.floor(Math.min(...all) * 100) / 100 - 0.005, Math.max(...all) + 0.005] as const;
  const body = rows
    .map(
      ({ name, definition, crossValidation, heldOut, own }) => `<tr${own ? ' class="own"' : ""}>
<th scope="row">${escapeHtml(name)}<small>${escapeHtml(definition)}</small></th>
<td>${plusMinus(crossValidation.accuracy, (value) => percent(value, 2))}</td>
<td class="dots">${dotPlot(crossValidation.accuracyByRepeat, range)}</td>
<td>${plusMinus(crossValidation.logLoss, (value) => value.toFixed(3))}</td>
<td>${percent(heldOut.accuracy)}</td>
<td>${heldOut.logLoss.toFixed(3)}</td>
</tr>`,
    )
    .join("");
  return `<table class="comparison"><thead><tr><th></th><th>CV accuracy</th><th>by repeat (%)</th><th>CV log loss</th><th>held-out accuracy</th><th>held-out log loss</th></tr></thead><tbody>${body}</tbody></table>`;
}

/** 繰り返しごとの精度を点で並べる。同じ値は上に積む。 */
function dotPlot(values: readonly number[], range: readonly [number, number]): string {
  const [width, height] = [180, 68];
  const x = linearScale(range, [8, width - 8]);
  const stacked = new Map<string, number>();
  const dots = values
    .map((value) => {
      const key = value.toFixed(4);
      const below = stacked.get(key) ?? 0;
      stacked.set(key, below + 1);
      return `<circle cx="${px(x(value))}" cy="${px(height - 15 - below * 4.8)}" r="2.1"><title>${percent(value, 2)}</title></circle>`;
    })
    .join("");
  const ticks: string[] = [];
  for (let tick = Math.ceil(range[0] * 100); tick <= range[1] * 100; tick++) {
    ticks.push(
      `<text class="tick" x="${px(x(tick / 100))}" y="${height - 1}" text-anchor="middle">${tick}</text>`,
    );
  }
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Accuracy of each repeat"><line class="axis" x1="4" x2="${width - 4}" y1="${height - 10.5}" y2="${height - 10.5}"/>${ticks.join("")}${dots}</svg>`;
}
