import { invalidArgument } from "../../base/status.ts";
import { tensor } from "../../tensor/tensor.ts";
import { bytesOf } from "./bytes.ts";
import { Spectrum, transform } from "./dft.ts";
import { formatShape, newData, toNumber } from "./kernel_util.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";
import { decodeWav, encodeWav } from "./wav.ts";

const decode = (node: OpNode): HostKernel => {
  const wantedChannels = node.attrs.int("desired_channels");
  const wantedSamples = node.attrs.int("desired_samples");
  return ([contents]) => {
    if (contents!.shape.length !== 0) {
      throw invalidArgument(`contents must be scalar, got shape ${formatShape(contents!.shape)}`);
    }
    const wave = decodeWav(bytesOf(contents!)[0]!);
    const channels = wantedChannels === -1 ? wave.channels : wantedChannels;
    const frames = wantedSamples === -1 ? wave.frames : wantedSamples;
    const audio = newData("float", [frames, channels]);
    // 足りないチャンネルは最後のものの写し、足りない標本は 0。
    for (let i = 0; i < Math.min(frames, wave.frames); i++) {
      for (let c = 0; c < channels; c++) {
        audio[i * channels + c] = wave.samples[i * wave.channels + Math.min(c, wave.channels - 1)]!;
      }
    }
    return [tensor("float", [frames, channels], audio), tensor("int32", [], Int32Array.of(wave.sampleRate))];
  };
};

const encode: HostKernel = ([audio, sampleRate]) => {
  if (audio!.shape.length !== 2) {
    throw invalidArgument(`audio must be 2-dimensional but got shape ${formatShape(audio!.shape)}`);
  }
  const [, channels] = audio!.shape;
  const rate = toNumber(sampleRate!);
  if (rate <= 0) throw invalidArgument(`sample_rate must be in (0, 2^32), got: ${rate}`);
  if (channels === 0 || channels! > 65535) {
    throw invalidArgument(`num_channels must be in (0, 2^16), got: ${channels}`);
  }
  return tensor("string", [], [encodeWav(audio!.data as Float32Array, channels!, rate)]);
};

/**
 * 窓(周期的な Hann)ごとのパワースペクトル。
 *
 * @see tensorflow/core/kernels/spectrogram.cc
 */
const spectrogram = (node: OpNode): HostKernel => {
  const width = node.attrs.int("window_size");
  const stride = node.attrs.int("stride");
  const squared = node.attrs.bool("magnitude_squared");
  if (width < 2) throw invalidArgument("Window length too short.");
  if (stride < 1) throw invalidArgument("Step length must be positive.");
  const window = Float64Array.from(
    { length: width },
    (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / width),
  );
  const length = 2 ** Math.ceil(Math.log2(width));
  const bins = length / 2 + 1;
  return ([input]) => {
    if (input!.shape.length !== 2) {
      throw invalidArgument(`input must be 2-dimensional but got shape ${formatShape(input!.shape)}`);
    }
    const [samples, channels] = input!.shape as [number, number];
    const slices = samples < width ? 0 : Math.floor((samples - width) / stride) + 1;
    const shape = [channels, slices, bins];
    const out = newData("float", shape);
    const from = input!.data as Float32Array;
    const line = Spectrum.zeros(length);
    let to = 0;
    for (let c = 0; c < channels; c++) {
      for (let slice = 0; slice < slices; slice++) {
        for (let i = 0; i < width; i++) line.re[i] = from[(slice * stride + i) * channels + c]! * window[i]!;
        const { re, im } = transform(line, -1);
        for (let i = 0; i < bins; i++) {
          const power = Math.fround(re[i]! * re[i]! + im[i]! * im[i]!);
          out[to++] = squared ? power : Math.sqrt(power);
        }
      }
    }
    return tensor("float", shape, out);
  };
};

const melOf = (frequency: number): number => 1127 * Math.log1p(frequency / 700);

/** スペクトルの 1 つの番号が、どのチャンネルにどれだけ効くか。 */
interface MelBin {
  readonly bin: number;
  /** 三角形の右側として効くチャンネル。左側としては次のチャンネルに効く。 */
  readonly channel: number;
  readonly weight: number;
}

/** @see tensorflow/core/kernels/mfcc_mel_filterbank.cc */
function melBins(bins: number, sampleRate: number, channels: number, low: number, high: number): MelBin[] {
  const lowest = melOf(low);
  const spacing = (melOf(high) - lowest) / (channels + 1);
  const center = (i: number) => lowest + spacing * (i + 1);
  const hertzPerBin = (0.5 * sampleRate) / (bins - 1);
  const first = Math.trunc(1.5 + low / hertzPerBin);
  const last = Math.min(Math.trunc(high / hertzPerBin), bins - 1);
  const found: MelBin[] = [];
  let channel = 0;
  for (let bin = first; bin <= last; bin++) {
    const mel = melOf(bin * hertzPerBin);
    while (channel < channels && center(channel) < mel) channel++;
    const at = channel - 1;
    found.push({ bin, channel: at, weight: (center(at + 1) - mel) / spacing });
  }
  return found;
}

/** メル周波数ケプストラム係数。 @see tensorflow/core/kernels/mfcc.cc */
const mfcc = (node: OpNode): HostKernel => {
  const high = node.attrs.float("upper_frequency_limit");
  const low = node.attrs.float("lower_frequency_limit");
  const channels = node.attrs.int("filterbank_channel_count");
  const count = node.attrs.int("dct_coefficient_count");
  const norm = Math.sqrt(2 / channels);
  const cosines = Array.from({ length: count }, (_, i) =>
    Float64Array.from(
      { length: channels },
      (_, j) => norm * Math.cos(((i * Math.PI) / channels) * (j + 0.5)),
    ),
  );
  return ([input, rateTensor]) => {
    if (input!.shape.length !== 3) {
      throw invalidArgument(`spectrogram must be 3-dimensional but got shape ${formatShape(input!.shape)}`);
    }
    const rate = toNumber(rateTensor!);
    const [audios, slices, bins] = input!.shape as [number, number, number];
    if (!(rate > 0) || bins < 2 || channels < 1 || count < 1 || count > channels || low < 0 || high <= low) {
      throw invalidArgument(`Mfcc initialization failed for channel count ${bins} and sample rate ${rate}`);
    }
    const mel = melBins(bins, rate, channels, low, high);
    const shape = [audios, slices, count];
    const out = newData("float", shape);
    const from = input!.data as Float32Array;
    const energy = new Float64Array(channels);
    for (let row = 0; row < audios * slices; row++) {
      energy.fill(0);
      for (const { bin, channel, weight } of mel) {
        const value = Math.sqrt(from[row * bins + bin]!);
        if (channel >= 0) energy[channel]! += value * weight;
        if (channel + 1 < channels) energy[channel + 1]! += value - value * weight;
      }
      for (let c = 0; c < channels; c++) energy[c] = Math.log(Math.max(energy[c]!, 1e-12));
      for (let i = 0; i < count; i++) {
        out[row * count + i] = energy.reduce((sum, value, c) => sum + value * cosines[i]![c]!, 0);
      }
    }
    return tensor("float", shape, out);
  };
};

/** 音声の読み書きと特徴。 */
export const audioOps: readonly OpRow[] = [
  { op: "DecodeWav", host: decode },
  { op: "EncodeWav", host: () => encode },
  { op: "AudioSpectrogram", host: spectrogram },
  { op: "Mfcc", host: mfcc },
];
