import { expect, test } from "bun:test";
import { type Progress, progressTo } from "../../../scripts/training/progress.ts";

const values = { loss: 0.5, accuracy: 0.75, heldOutLoss: 0.6, heldOutAccuracy: 0.7 };

function written(terminal: boolean, body: (progress: Progress) => void): string {
  let text = "";
  body(progressTo((part) => (text += part), terminal, "training"));
  return text;
}

test("progressTo() redraws one line on a terminal", () => {
  const text = written(true, (progress) => {
    for (let epoch = 1; epoch <= 40; epoch++) progress.epoch(epoch, 40, values);
    progress.done("done");
  });
  expect(text.split("\n")).toHaveLength(2);
  expect(text.match(/\r/g)).toHaveLength(41);
  expect(text).toContain(`${"█".repeat(8)}${"░".repeat(8)} 20/40  loss 0.5000  acc 75.0 %  held-out 70.0 %`);
  for (const line of text.split("\r")) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(80);
  expect(text.endsWith("\r\x1b[K  done\n")).toBe(true);
});

test("progressTo() writes a plain line every 20 epochs and at the end elsewhere", () => {
  const text = written(false, (progress) => {
    for (let epoch = 1; epoch <= 45; epoch++) progress.epoch(epoch, 45);
    progress.done("done");
  });
  expect(text).toBe("  training epoch 20/45\n  training epoch 40/45\n  training epoch 45/45\n  done\n");
});
