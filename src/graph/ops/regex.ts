import { invalidArgument } from "../../base/status.ts";
import { type Tensor, tensor } from "../../tensor/tensor.ts";
import { formatShape } from "./kernel_util.ts";
import { Pattern, Rewrite } from "./re2.ts";
import type { OpRow } from "./registry.ts";

/** 直前と同じ引数なら作り直さない。要求ごとに変わらない pattern を毎回読むのを避ける。 */
function remember<T>(make: (source: Uint8Array) => T): (source: Uint8Array) => T {
  let last: { readonly source: Uint8Array; readonly made: T } | undefined;
  return (source) => {
    if (last === undefined || Buffer.compare(last.source, source) !== 0) {
      last = { source, made: make(source) };
    }
    return last.made;
  };
}

function scalar(value: Tensor, name: string): Uint8Array {
  if (value.shape.length !== 0) {
    throw invalidArgument(`${name} must be scalar, but received ${formatShape(value.shape)}`);
  }
  return (value.data as Uint8Array[])[0]!;
}

function replaceAll(input: Tensor, pattern: Pattern, rewrite: Rewrite, everywhere: boolean): Tensor {
  const texts = input.data as Uint8Array[];
  return tensor(
    "string",
    input.shape,
    texts.map((text) => pattern.replace(text, rewrite, everywhere)),
  );
}

function matchAll(input: Tensor, pattern: Pattern): Tensor {
  const texts = input.data as Uint8Array[];
  return tensor(
    "bool",
    input.shape,
    Uint8Array.from(texts, (text) => (pattern.fullMatch(text) ? 1 : 0)),
  );
}

/** RegexReplace, RegexFullMatch と、その静的な形。 */
export const regexOps: readonly OpRow[] = [
  {
    op: "RegexReplace",
    host: ({ attrs }) => {
      const everywhere = attrs.bool("replace_global");
      const patternOf = remember((source) => new Pattern(source));
      return ([input, pattern, rewrite]) => {
        const compiled = patternOf(scalar(pattern!, "Pattern"));
        return replaceAll(input!, compiled, new Rewrite(scalar(rewrite!, "Rewrite")), everywhere);
      };
    },
  },
  {
    op: "StaticRegexReplace",
    host: ({ attrs }) => {
      const pattern = new Pattern(attrs.bytes("pattern"));
      const rewrite = new Rewrite(attrs.bytes("rewrite"));
      const everywhere = attrs.bool("replace_global");
      return ([input]) => replaceAll(input!, pattern, rewrite, everywhere);
    },
  },
  {
    op: "RegexFullMatch",
    host: () => {
      const patternOf = remember((source) => new Pattern(source));
      return ([input, pattern]) => matchAll(input!, patternOf(scalar(pattern!, "Pattern")));
    },
  },
  {
    op: "StaticRegexFullMatch",
    host: ({ attrs }) => {
      const pattern = new Pattern(attrs.bytes("pattern"));
      return ([input]) => matchAll(input!, pattern);
    },
  },
];
