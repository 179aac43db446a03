/** 画素の面。`width` × `height` が意味を持つ部分。 */
export interface Plane {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly stride: number;
  readonly width: number;
  readonly height: number;
}

/**
 * 間引かれた面を、元の大きさに広げる。
 *
 * @param across 横の倍率。 @param down 縦の倍率。
 * @param fancy 隣と混ぜてなめらかにするか(libjpeg の fancy upsampling)。
 * @see libjpeg jdsample.c
 */
export function upsample(
  plane: Plane,
  width: number,
  height: number,
  across: number,
  down: number,
  fancy: boolean,
): Plane {
  if (across === 1 && down === 1) return plane;
  if (fancy && across === 2 && down === 1 && plane.width > 2) return widen(plane, width, height);
  if (fancy && across === 2 && down === 2 && plane.width > 2) return enlarge(plane, width, height);
  if (fancy && across === 1 && down === 2) return heighten(plane, width, height);
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = Math.floor(y / down) * plane.stride;
    for (let x = 0; x < width; x++) out[y * width + x] = plane.data[row + Math.floor(x / across)]!;
  }
  return { data: out, stride: width, width, height };
}

function widen({ data, stride, width: columns }: Plane, width: number, height: number): Plane {
  const wide = columns * 2;
  const out = new Uint8Array(wide * height);
  for (let y = 0; y < height; y++) {
    const from = y * stride;
    const to = y * wide;
    out[to] = data[from]!;
    out[to + 1] = (data[from]! * 3 + data[from + 1]! + 2) >> 2;
    for (let x = 1; x < columns - 1; x++) {
      const three = data[from + x]! * 3;
      out[to + 2 * x] = (three + data[from + x - 1]! + 1) >> 2;
      out[to + 2 * x + 1] = (three + data[from + x + 1]! + 2) >> 2;
    }
    const last = from + columns - 1;
    out[to + wide - 2] = (data[last]! * 3 + data[last - 1]! + 1) >> 2;
    out[to + wide - 1] = data[last]!;
  }
  return { data: out, stride: wide, width, height };
}

/** 奇数番目の行は下の行と、偶数番目は上の行と混ぜる。端では自分自身。 */
function neighbour(y: number, rows: number): [number, number] {
  const own = y >> 1;
  const other = (y & 1) === 0 ? own - 1 : own + 1;
  return [own, Math.min(Math.max(other, 0), rows - 1)];
}

function enlarge(
  { data, stride, width: columns, height: rows }: Plane,
  width: number,
  height: number,
): Plane {
  const wide = columns * 2;
  const out = new Uint8Array(wide * height);
  const sums = new Int32Array(columns);
  for (let y = 0; y < height; y++) {
    const [own, other] = neighbour(y, rows);
    for (let x = 0; x < columns; x++) sums[x] = data[own * stride + x]! * 3 + data[other * stride + x]!;
    const to = y * wide;
    out[to] = (sums[0]! * 4 + 8) >> 4;
    out[to + 1] = (sums[0]! * 3 + sums[1]! + 7) >> 4;
    for (let x = 1; x < columns - 1; x++) {
      const three = sums[x]! * 3;
      out[to + 2 * x] = (three + sums[x - 1]! + 8) >> 4;
      out[to + 2 * x + 1] = (three + sums[x + 1]! + 7) >> 4;
    }
    const last = columns - 1;
    out[to + wide - 2] = (sums[last]! * 3 + sums[last - 1]! + 8) >> 4;
    out[to + wide - 1] = (sums[last]! * 4 + 7) >> 4;
  }
  return { data: out, stride: wide, width, height };
}

function heighten({ data, stride, height: rows }: Plane, width: number, height: number): Plane {
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const [own, other] = neighbour(y, rows);
    const bias = (y & 1) === 0 ? 1 : 2;
    for (let x = 0; x < width; x++) {
      out[y * width + x] = (data[own * stride + x]! * 3 + data[other * stride + x]! + bias) >> 2;
    }
  }
  return { data: out, stride: width, width, height };
}

const fix = (value: number): number => Math.floor(value * 65536 + 0.5);
const centred = (scale: number, bias: number, shift: number): Int32Array =>
  Int32Array.from({ length: 256 }, (_, i) => (scale * (i - 128) + bias) >> shift);
const redOfCr = centred(fix(1.402), 32768, 16);
const blueOfCb = centred(fix(1.772), 32768, 16);
const greenOfCr = centred(-fix(0.71414), 0, 0);
const greenOfCb = centred(-fix(0.34414), 32768, 0);

/** 色の並び。 */
export type ColorSpace = "gray" | "ycc" | "rgb" | "cmyk" | "ycck";

const clamp = (value: number): number => (value < 0 ? 0 : Math.min(value, 255));

/** ほとんどの写真が通る道。飽和は出力の型に任せる。 */
function assembleYcc(planes: readonly Plane[], width: number, height: number): Uint8Array {
  const out = new Uint8ClampedArray(width * height * 3);
  const [luma, blues, reds] = planes as [Plane, Plane, Plane];
  let to = 0;
  for (let y = 0; y < height; y++) {
    const [row, blueRow, redRow] = [y * luma.stride, y * blues.stride, y * reds.stride];
    for (let x = 0; x < width; x++) {
      const light = luma.data[row + x]!;
      const cb = blues.data[blueRow + x]!;
      const cr = reds.data[redRow + x]!;
      out[to] = light + redOfCr[cr]!;
      out[to + 1] = light + ((greenOfCb[cb]! + greenOfCr[cr]!) >> 16);
      out[to + 2] = light + blueOfCb[cb]!;
      to += 3;
    }
  }
  return new Uint8Array(out.buffer);
}

/**
 * 面を画素の並びにする。
 *
 * @param channels 1 または 3。
 * @param inverted CMYK の値が反転しているか(Adobe の標識がある)。
 * @see libjpeg jdcolor.c
 */
export function assemblePixels(
  planes: readonly Plane[],
  space: ColorSpace,
  channels: 1 | 3,
  width: number,
  height: number,
  inverted: boolean,
): Uint8Array {
  if (space === "ycc" && channels === 3) return assembleYcc(planes, width, height);
  const out = new Uint8Array(width * height * channels);
  let to = 0;
  const [a, b, c, k] = planes.map(({ data }) => data);
  for (let y = 0; y < height; y++) {
    const rows = planes.map(({ stride }) => y * stride);
    for (let x = 0; x < width; x++) {
      const first = a![rows[0]! + x]!;
      if (space === "gray" || (channels === 1 && space === "ycc")) {
        out[to++] = first;
        if (channels === 3) {
          out[to++] = first;
          out[to++] = first;
        }
        continue;
      }
      let red = first;
      let green = b![rows[1]! + x]!;
      let blue = c![rows[2]! + x]!;
      if (space === "ycck") {
        const [cb, cr] = [green, blue];
        red = clamp(first + redOfCr[cr]!);
        green = clamp(first + ((greenOfCb[cb]! + greenOfCr[cr]!) >> 16));
        blue = clamp(first + blueOfCb[cb]!);
      }
      if (space === "cmyk" || space === "ycck") {
        if (space === "ycck") [red, green, blue] = [255 - red, 255 - green, 255 - blue];
        const key = k![rows[3]! + x]!;
        const mix = inverted
          ? (ink: number): number => Math.floor((key * ink) / 255)
          : (ink: number): number => Math.floor(((255 - key) * (255 - ink)) / 255);
        [red, green, blue] = [mix(red), mix(green), mix(blue)];
      }
      if (channels === 1) {
        out[to++] = (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16;
      } else {
        out[to++] = red;
        out[to++] = green;
        out[to++] = blue;
      }
    }
  }
  return out;
}
