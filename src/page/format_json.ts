const WIDTH = 76;

const flatten = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(flatten).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([key, item]) => `${JSON.stringify(key)}: ${flatten(item)}`)
    .join(", ")}}`;
};

/** 1 行に収まるものは 1 行で、数の列は幅いっぱいに並べて書く JSON。 */
export function formatJson(value: unknown, indent = ""): string {
  const flat = flatten(value);
  if (indent.length + flat.length <= WIDTH || typeof value !== "object" || value === null) return flat;
  const inner = `${indent}  `;
  if (!Array.isArray(value)) {
    const lines = Object.entries(value).map(
      ([key, item]) => `${inner}${JSON.stringify(key)}: ${formatJson(item, inner)}`,
    );
    return `{\n${lines.join(",\n")}\n${indent}}`;
  }
  if (value.some((item) => typeof item === "object")) {
    return `[\n${value.map((item) => inner + formatJson(item, inner)).join(",\n")}\n${indent}]`;
  }
  const lines: string[] = [];
  let line = inner;
  value.forEach((item, i) => {
    const text = flatten(item) + (i + 1 < value.length ? "," : "");
    if (line !== inner && line.length + text.length + 1 > WIDTH) {
      lines.push(line);
      line = inner;
    }
    line += line === inner ? text : ` ${text}`;
  });
  return `[\n${[...lines, line].join("\n")}\n${indent}]`;
}
