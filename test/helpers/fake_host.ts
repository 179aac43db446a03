import type { Host } from "../../src/base/host.ts";
import type { LogFields } from "../../src/base/log.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { FakeClock } from "./fake_clock.ts";

/** 試験の外界。書かれたログは `lines` に `I 文面` の形で残る(項目は付けない)。 */
export class FakeHost implements Host {
  readonly clock = new FakeClock();
  readonly metrics = new Metrics();
  readonly lines: string[] = [];
  readonly log = {
    debug: this.#write("D"),
    info: this.#write("I"),
    warn: this.#write("W"),
    error: this.#write("E"),
  };

  /** その文を含む行。 */
  linesWith(text: string): string[] {
    return this.lines.filter((line) => line.includes(text));
  }

  #write(badge: string) {
    return (event: string, _fields?: LogFields): void => {
      this.lines.push(`${badge} ${event}`);
    };
  }
}
