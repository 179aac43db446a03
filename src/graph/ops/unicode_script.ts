import { tensor } from "../../tensor/tensor.ts";
import { toNumbers } from "./kernel_util.ts";
import type { OpRow } from "./registry.ts";

/** 文字体系の名前を ICU の UScriptCode の番号順に。`-` は文字の無い番号。 */
const SCRIPTS =
  "Common Inherited Arabic Armenian Bengali Bopomofo Cherokee Coptic Cyrillic Deseret Devanagari Ethiopic Georgian Gothic Greek Gujarati Gurmukhi Han Hangul Hebrew Hiragana Kannada Katakana Khmer Lao Latin Malayalam Mongolian Myanmar Ogham Old_Italic Oriya Runic Sinhala Syriac Tamil Telugu Thaana Thai Tibetan Canadian_Aboriginal Yi Tagalog Hanunoo Buhid Tagbanwa Braille Cypriot Limbu Linear_B Osmanya Shavian Tai_Le Ugaritic - Buginese Glagolitic Kharoshthi Syloti_Nagri New_Tai_Lue Tifinagh Old_Persian Balinese Batak - Brahmi Cham - - - - Egyptian_Hieroglyphs - - - Pahawh_Hmong Old_Hungarian - Javanese Kayah_Li - - Lepcha Linear_A Mandaic - Meroitic_Hieroglyphs Nko Old_Turkic Old_Permic Phags_Pa Phoenician Miao - - - - - - Vai - Cuneiform - - Carian - Tai_Tham Lycian Lydian Ol_Chiki Rejang Saurashtra SignWriting Sundanese - Meetei_Mayek Imperial_Aramaic Avestan Chakma - Kaithi Manichaean Inscriptional_Pahlavi Psalter_Pahlavi - Inscriptional_Parthian Samaritan Tai_Viet - - Bamum Lisu - Old_South_Arabian Bassa_Vah Duployan Elbasan Grantha - - Mende_Kikakui Meroitic_Cursive Old_North_Arabian Nabataean Palmyrene Khudawadi Warang_Citi - - Mro Nushu Sharada Sora_Sompeng Takri Tangut - Anatolian_Hieroglyphs Khojki Tirhuta Caucasian_Albanian Mahajani Ahom Hatran Modi Multani Pau_Cin_Hau Siddham Adlam Bhaiksuki Marchen Newa Osage - - - Masaram_Gondi Soyombo Zanabazar_Square Dogra Gunjala_Gondi Makasar Medefaidrin Hanifi_Rohingya Sogdian Old_Sogdian Elymaic Nyiakeng_Puachue_Hmong Nandinagari Wancho Chorasmian Dives_Akuru Khitan_Small_Script Yezidi";

/** どの文字体系でもない符号位置と、符号位置でない数。 */
const UNKNOWN = 103;
const INVALID = -1;

let patterns: readonly (readonly [RegExp, number])[] | undefined;

/** 初めて使うときに作る(百を超える正規表現を起動時に組み立てない)。 */
function scripts(): readonly (readonly [RegExp, number])[] {
  patterns ??= SCRIPTS.split(" ").flatMap((name, code) =>
    name === "-" ? [] : [[new RegExp(`\\p{Script=${name}}`, "u"), code] as const],
  );
  return patterns;
}

const known = new Map<number, number>();

function scriptOf(codePoint: number): number {
  if (codePoint < 0 || codePoint > 0x10ffff) return INVALID;
  let script = known.get(codePoint);
  if (script === undefined) {
    const text = String.fromCodePoint(codePoint);
    script = scripts().find(([pattern]) => pattern.test(text))?.[1] ?? UNKNOWN;
    // 漢字のように種類の多い文字でも、覚えるのは限られた数まで。
    if (known.size < 4096) known.set(codePoint, script);
  }
  return script;
}

/** 文字の文字体系。表は実行環境の Unicode なので、TF より新しい文字は TF では UNKNOWN になる。 */
export const unicodeScriptOps: readonly OpRow[] = [
  {
    op: "UnicodeScript",
    host:
      () =>
      ([input]) =>
        tensor("int32", input!.shape, Int32Array.from(toNumbers(input!), scriptOf)),
  },
];
