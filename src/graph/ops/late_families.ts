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
 * 読み込みに数 ms 掛かるもの(JSON と正規表現の読み手、zlib)に寄り掛かる族と、全結合だけの小さなモデルの使わない族。
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
  family("Einsum", async () => (await import("./einsum.ts")).einsumOps),
  family(
    "RGBToHSV HSVToRGB AdjustHue AdjustSaturation AdjustContrastv2",
    async () => (await import("./image_color.ts")).imageColorOps,
  ),
  family(
    "CropAndResize ImageProjectiveTransformV2 ImageProjectiveTransformV3 ExtractImagePatches",
    async () => (await import("./image_geometry.ts")).imageGeometryOps,
  ),
  family(
    `MatrixDiag MatrixDiagPart MatrixSetDiag MatrixDiagV2 MatrixDiagV3 MatrixDiagPartV2 MatrixDiagPartV3
     MatrixSetDiagV2 MatrixSetDiagV3 MatrixBandPart Diag DiagPart`,
    async () => (await import("./matrix_diag.ts")).matrixDiagOps,
  ),
  family(
    `NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5
     NonMaxSuppressionWithOverlaps CombinedNonMaxSuppression`,
    async () => (await import("./non_max_suppression.ts")).nonMaxSuppressionOps,
  ),
  family(
    "MaxPool AvgPool MaxPool3D AvgPool3D MaxPoolV2 MaxPoolWithArgmax",
    async () => (await import("./pool.ts")).poolOps,
  ),
  family(
    `FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel
     QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4`,
    async () => (await import("./quantize.ts")).quantizeOps,
  ),
  family(
    `StatelessRandomUniform StatelessRandomUniformV2 StatelessRandomNormal StatelessRandomNormalV2
     StatelessTruncatedNormal StatelessTruncatedNormalV2 StatelessRandomUniformInt
     StatelessRandomUniformIntV2 StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2
     StatelessRandomGammaV2 StatelessRandomGammaV3 StatelessRandomGetKeyCounter
     StatelessRandomGetKeyCounterAlg StatelessRandomGetAlg RandomUniform RandomStandardNormal
     TruncatedNormal RandomUniformInt`,
    async () => (await import("./random.ts")).randomOps,
  ),
  family(
    "ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea ScaleAndTranslate",
    async () => (await import("./resize.ts")).resizeOps,
  ),
  family("DecodeCSV", async () => (await import("./decode_csv.ts")).decodeCsvOps),
  family("AsString StringFormat", async () => (await import("./string_format.ts")).stringFormatOps),
  family(
    "StringToHashBucketFast StringToHashBucket StringToHashBucketStrong",
    async () => (await import("./string_hash.ts")).stringHashOps,
  ),
  family(
    "UnicodeTranscode UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode",
    async () => (await import("./unicode.ts")).unicodeOps,
  ),
  family(
    `EmptyTensorList TensorListReserve TensorListFromTensor TensorListStack TensorListGetItem
     TensorListSetItem TensorListPushBack TensorListPopBack TensorListLength TensorListResize
     TensorListElementShape TensorListGather TensorListScatter TensorListScatterV2
     TensorListScatterIntoExistingList TensorListConcat TensorListConcatV2 TensorListSplit
     TensorListConcatLists`,
    async () => (await import("./list.ts")).listOps,
  ),
  family(
    `TensorArrayV3 TensorArrayWriteV3 TensorArrayReadV3 TensorArrayGatherV3 TensorArrayScatterV3
     TensorArrayConcatV3 TensorArraySplitV3 TensorArraySizeV3 TensorArrayCloseV3`,
    async () => (await import("./tensor_array.ts")).tensorArrayOps,
  ),
  family("StackV2 StackPushV2 StackPopV2 StackCloseV2", async () => (await import("./stack.ts")).stackOps),
  family(
    "ParseSequenceExample ParseSingleSequenceExample ParseSequenceExampleV2",
    async () => (await import("./parse_sequence_example.ts")).parseSequenceExampleOps,
  ),
  family(
    `SegmentSum SegmentMean SegmentProd SegmentMax SegmentMin SegmentSumV2 SegmentProdV2 SegmentMaxV2
     SegmentMinV2 UnsortedSegmentSum UnsortedSegmentProd UnsortedSegmentMax UnsortedSegmentMin
     SparseSegmentSum SparseSegmentMean SparseSegmentSqrtN SparseSegmentSumWithNumSegments
     SparseSegmentMeanWithNumSegments SparseSegmentSqrtNWithNumSegments`,
    async () => (await import("./segment.ts")).segmentOps,
  ),
  family(
    `Bincount DenseBincount SparseBincount RaggedBincount DenseCountSparseOutput SparseCountSparseOutput
     RaggedCountSparseOutput Bucketize`,
    async () => (await import("./bincount.ts")).bincountOps,
  ),
  family(
    `SparseToDense SparseReshape SparseReorder SparseFillEmptyRows SparseConcat SparseSlice SparseSplit
     SparseTensorDenseMatMul SparseAdd SparseSoftmax SparseReduceSum SparseReduceMax
     SparseReduceSumSparse SparseReduceMaxSparse SparseDenseCwiseMul SparseDenseCwiseDiv
     SparseDenseCwiseAdd`,
    async () => (await import("./sparse.ts")).sparseOps,
  ),
  family(
    "SparseCross SparseCrossV2 RaggedCross SparseCrossHashed",
    async () => (await import("./sparse_cross.ts")).sparseCrossOps,
  ),
  family(
    `RaggedTensorToTensor RaggedTensorToSparse RaggedGather RaggedRange RaggedTensorToVariant
     RaggedTensorFromVariant`,
    async () => (await import("./ragged.ts")).raggedOps,
  ),
  family("ReadFile", async () => (await import("./read_file.ts")).readFileOps),
  family("UnicodeScript", async () => (await import("./unicode_script.ts")).unicodeScriptOps),
  family(
    "DenseToDenseSetOperation DenseToSparseSetOperation SparseToSparseSetOperation SetSize",
    async () => (await import("./set_operation.ts")).setOps,
  ),
  family(
    `Add AddV2 Sub Mul Div RealDiv DivNoNan MulNoNan TruncateDiv FloorDiv FloorMod TruncateMod Mod
     Maximum Minimum Pow SquaredDifference Atan2 Xdivy Xlogy Xlog1py NextAfter Igamma Igammac BitwiseAnd
     BitwiseOr BitwiseXor LogicalAnd LogicalOr LogicalXor Equal NotEqual Less LessEqual Greater
     GreaterEqual LeftShift RightShift ApproximateEqual Complex AddN ClipByValue`,
    async () => (await import("./math_binary.ts")).mathBinaryOps,
  ),
  family("Cast Bitcast", async () => (await import("./cast.ts")).castOps),
  family(
    `SelectV2 Select Where TopKV2 TopK Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2
     DynamicPartition DynamicStitch ParallelDynamicStitch ListDiff InTopK InTopKV2 LowerBound UpperBound
     NthElement`,
    async () => (await import("./select.ts")).selectOps,
  ),
  family(
    "Sum Mean Prod Max Min EuclideanNorm All Any ArgMax ArgMin Cumsum Cumprod CumulativeLogsumexp L2Loss",
    async () => (await import("./reduce.ts")).reduceOps,
  ),
  family(
    `Conv2D Conv3D DepthwiseConv2dNative _Conv _DepthwiseConv Conv2DBackpropInput Conv3DBackpropInputV2
     Dilation2D`,
    async () => (await import("./conv.ts")).convOps,
  ),
];
