import type { Epoch } from "./fit.ts";

/** 経過の見せ方。 */
export interface Progress {
  epoch(done: number, total: number, values?: Epoch): void;
  /** 行を閉じて、まとめの 1 行を残す。 */
  done(summary: string): void;
}

/** 80 桁の端末で折り返さない幅。折り返すと描き直しが崩れる。 */
const BAR_WIDTH = 16;

/**
 * 端末では 1 行を描き直す棒、それ以外(ログ、CI)では 20 エポックごとの行。
 *
 * @param write 出力先。改行は自分で付ける。
 */
export function progressTo(write: (text: string) => void, terminal: boolean, label: string): Progress {
  return {
    epoch(done, total, values) {
      const numbers = values === undefined ? "" : `  ${describe(values)}`;
      const counter = `${String(done).padStart(String(total).length)}/${total}`;
      if (terminal) {
        const filled = Math.round((done / total) * BAR_WIDTH);
        write(
          `\r  ${label} ${"█".repeat(filled)}${"░".repeat(BAR_WIDTH - filled)} ${counter}${numbers}\x1b[K`,
        );
      } else if (done % 20 === 0 || done === total) {
        write(`  ${label} epoch ${counter}${numbers}\n`);
      }
    },
    done(summary) {
      write(terminal ? `\r\x1b[K  ${summary}\n` : `  ${summary}\n`);
    },
  };
}

function describe({ loss, accuracy, heldOutAccuracy }: Epoch): string {
  const percent = (value: number): string => `${(100 * value).toFixed(1)} %`;
  return `loss ${loss.toFixed(4)}  acc ${percent(accuracy)}  held-out ${percent(heldOutAccuracy)}`;
}
