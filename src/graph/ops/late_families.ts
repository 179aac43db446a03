import type { OpRow } from "./registry.ts";
import { generatorUpdates, scatterUpdates } from "./variable_update_names.ts";

/** 使うモデルを開くときに読み込む族。 */
interface LateFamily {
  /** 族にある演算のすべて。 */
  readonly ops: readonly string[];
  readonly load: () => Promise<readonly OpRow[]>;
}

const family = (ops: string, load: LateFamily["load"]): LateFamily => ({
  ops: ops.split(/\s+/).filter((op) => op !== ""),
  load,
});

/**
 * 読み込みに数 ms 掛かるもの(JSON と正規表現の読み手、zlib)に寄り掛かる族と、使うモデルの少ない族。
 */
export const lateFamilies: readonly LateFamily[] = [
  family("DecodeJSONExample", async () => (await import("./decode_json_example.ts")).decodeJsonExampleOps),
  family(
    "RegexReplace StaticRegexReplace RegexFullMatch StaticRegexFullMatch",
    async () => (await import("./regex.ts")).regexOps,
  ),
  family(
    `DecodeJpeg DecodeAndCropJpeg DecodePng DecodeGif DecodeBmp DecodeImage ExtractJpegShape EncodeJpeg
     EncodeJpegVariableQuality EncodePng`,
    async () => (await import("./image_codec.ts")).imageCodecOps,
  ),
  family(
    `FFT IFFT BatchFFT BatchIFFT RFFT IRFFT FFT2D IFFT2D BatchFFT2D BatchIFFT2D RFFT2D IRFFT2D
     FFT3D IFFT3D BatchFFT3D BatchIFFT3D RFFT3D IRFFT3D`,
    async () => (await import("./fft.ts")).fftOps,
  ),
  family(
    `BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0 BesselJ1 BesselK0 BesselK0e BesselK1 BesselK1e BesselY0 BesselY1
     Dawsn Expint FresnelCos FresnelSin Spence Zeta Polygamma Betainc`,
    async () => (await import("./special_math.ts")).specialMathOps,
  ),
  family("DecodeWav EncodeWav AudioSpectrogram Mfcc", async () => (await import("./audio.ts")).audioOps),
  family("CTCGreedyDecoder CTCBeamSearchDecoder", async () => (await import("./ctc.ts")).ctcOps),
  family("EditDistance", async () => (await import("./edit_distance.ts")).editDistanceOps),
  family("PrintV2 Print Timestamp", async () => (await import("./print.ts")).printOps),
  family(
    `SerializeTensor ParseTensor SerializeSparse SerializeManySparse DeserializeSparse DeserializeManySparse
     UnravelIndex`,
    async () => (await import("./serialize.ts")).serializeOps,
  ),
  family("Fingerprint", async () => (await import("./fingerprint.ts")).fingerprintOps),
  family("HistogramFixedWidth", async () => (await import("./histogram.ts")).histogramOps),
  family("DrawBoundingBoxes DrawBoundingBoxesV2", async () => (await import("./draw_boxes.ts")).drawBoxesOps),
  family(
    "ExtractVolumePatches ExtractGlimpse ExtractGlimpseV2",
    async () => (await import("./patches.ts")).patchesOps,
  ),
  family(
    `${scatterUpdates.join(" ")} TensorStridedSliceUpdate InplaceUpdate InplaceAdd InplaceSub`,
    async () => (await import("./variable_updates.ts")).variableUpdatesOps,
  ),
  family(
    `Multinomial RandomShuffle RandomGamma RandomPoissonV2 StatelessMultinomial StatelessRandomPoisson StatelessShuffle
     ${generatorUpdates.join(" ")}`,
    async () => (await import("./sampling.ts")).samplingOps,
  ),
  family(
    `Cholesky BatchCholesky MatrixInverse BatchMatrixInverse MatrixDeterminant BatchMatrixDeterminant
     LogMatrixDeterminant MatrixSolve BatchMatrixSolve MatrixTriangularSolve BatchMatrixTriangularSolve Cross`,
    async () => (await import("./linalg.ts")).linalgOps,
  ),
  family(
    `Qr Svd BatchSvd SelfAdjointEigV2 BatchSelfAdjointEigV2 SelfAdjointEig BatchSelfAdjointEig Lu MatrixExponential
     MatrixSquareRoot MatrixSolveLs BatchMatrixSolveLs TridiagonalSolve TridiagonalMatMul BandedTriangularSolve`,
    async () => (await import("./decompositions.ts")).decompositionsOps,
  ),
];
