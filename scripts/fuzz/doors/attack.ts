import type { Random } from "../random.ts";

/** 攻める先。 */
export interface Ports {
  readonly grpc: number;
  readonly rest: number;
}

export interface AttackContext {
  readonly ports: Ports;
  readonly random: Random;
  /** 大きさの倍率。短い試験では 1、長い試験では大きくする。 */
  readonly scale: number;
  /** 攻めている最中に、健全な客がどちらの入口でも正しい答えを得ることを確かめる。 */
  healthy(): Promise<void>;
}

/** 1 つの攻め方。 */
export interface Attack {
  readonly name: string;
  /** @returns 何が起きたかの一言。 @throws 守りが足りない(約束が破れた)。 */
  run(context: AttackContext): Promise<string>;
}
