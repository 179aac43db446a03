import type { CellSnapshot, FamilySnapshot } from "../base/metrics.ts";

/** C の `%g`(有効 6 桁)。境界と合計に使う。 */
function formatSixDigits(value: number): string {
  const exponent = value === 0 ? 0 : Number(value.toExponential(5).split("e")[1]);
  if (exponent >= -4 && exponent < 6) return String(Number(value.toFixed(5 - exponent)));
  const [mantissa, power] = value.toExponential(5).split("e");
  return `${Number(mantissa)}e${power!.replace(/^([+-])(\d)$/, "$10$2")}`;
}

const withoutLeadingDigit = (name: string): string => (/^[0-9]/.test(name) ? `_${name}` : name);
const metricName = (name: string): string => withoutLeadingDigit(name.replace(/[^a-zA-Z0-9_]/g, ":"));
const labelName = (name: string): string => withoutLeadingDigit(name.replace(/[^a-zA-Z0-9]/g, "_"));
// 改行を逃がさないのは TF Serving と同じ。ただし行が壊れて偽の標本を差し込めるので、空白に変える。
const labelValue = (value: string): string => value.replace(/["\\]/g, "\\$&").replace(/[\r\n]/g, " ");

/** 原名は C++ の文字列として並ぶので、UTF-16 ではなくバイトで比べる。 */
const byName = (a: FamilySnapshot, b: FamilySnapshot): number =>
  Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));

function byLabels({ labelValues: a }: CellSnapshot, { labelValues: b }: CellSnapshot): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? 0 : Buffer.compare(Buffer.from(a[at]!), Buffer.from(b[at]!));
}

function formatFamily({ name, kind, labels, limits, cells }: FamilySnapshot): string {
  const metric = metricName(name);
  let text = `# TYPE ${metric} ${kind}\n`;
  for (const { labelValues, value, buckets, count } of [...cells].sort(byLabels)) {
    // こちらは失敗した要求のためにもセルを用意しておく。TF Serving で標本の無い分布は現れない。
    if (count === 0) continue;
    const pairs = labels
      .map((label, i) => `${labelName(label)}="${labelValue(labelValues[i] ?? "")}"`)
      .join();
    if (buckets === undefined) {
      // TF Serving の数は整数だけ。Prometheus の慣わしの名(process_…)は秒の小数を持つ。
      text += `${metric}{${pairs}} ${name.startsWith("/") ? Math.trunc(value) : value}\n`;
      continue;
    }
    let total = 0;
    for (let i = 0; i < buckets.length; i++) {
      total += buckets[i]!;
      const limit = i < limits.length ? formatSixDigits(limits[i]!) : "+Inf";
      text += `${metric}_bucket{${pairs}${pairs === "" ? "" : ","}le="${limit}"} ${total}\n`;
    }
    text += `${metric}_sum{${pairs}} ${formatSixDigits(value)}\n${metric}_count{${pairs}} ${count}\n`;
  }
  return text;
}

/**
 * 指標を TF Serving の Prometheus ページと同じ文字にする。
 *
 * @see tensorflow_serving/util/prometheus_exporter.cc
 */
export function formatPrometheusPage(families: readonly FamilySnapshot[]): string {
  return [...families].sort(byName).map(formatFamily).join("");
}
