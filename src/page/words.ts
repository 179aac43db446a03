export const languages = ["en", "ja"] as const;
export type Language = (typeof languages)[number];

/** 頁の言葉。`{name}` は呼ぶ側が埋める。 */
export const words = {
  skip: { en: "Skip to the content", ja: "本文へ移動" },
  tagline: {
    en: "A model server that speaks TensorFlow Serving’s REST and gRPC APIs.",
    ja: "TensorFlow Serving の REST と gRPC を話すモデルサーバー。",
  },
  toDark: { en: "Switch to the dark theme", ja: "暗い配色にする" },
  toLight: { en: "Switch to the light theme", ja: "明るい配色にする" },
  otherLanguage: { en: "日本語", ja: "English" },

  keyNeeded: { en: "This server asks for an API key", ja: "このサーバーは API キーを求めています" },
  keyUse: { en: "Use it", ja: "使う" },

  irisTitle: { en: "Which iris is it?", ja: "どのアヤメでしょう?" },
  irisLead: {
    en: "Move the sliders. Every step asks the model for the probabilities, and for the whole map in one batch.",
    ja: "つまみを動かすたびに、モデルに確率をたずねます。地図は 1 つの要求でまとめて計算します。",
  },
  sepal_length: { en: "Sepal length", ja: "がく片の長さ" },
  sepal_width: { en: "Sepal width", ja: "がく片の幅" },
  petal_length: { en: "Petal length", ja: "花弁の長さ" },
  petal_width: { en: "Petal width", ja: "花弁の幅" },
  setosa: { en: "Setosa", ja: "ヒオウギアヤメ" },
  versicolor: { en: "Versicolor", ja: "ブルーフラッグ" },
  virginica: { en: "Virginica", ja: "バージニカ" },
  examples: { en: "A typical", ja: "典型的な花" },
  probabilities: { en: "Probabilities", ja: "確率" },
  verdict: { en: "{name}, {percent} sure", ja: "{name}(確かさ {percent})" },
  planeTitle: { en: "Petal plane", ja: "花弁の平面" },
  planeLabel: {
    en: "Decision regions over petal length and width, with the 150 flowers of the data set. The flower of the sliders is at {length} by {width} cm.",
    ja: "花弁の長さと幅に対する判別の領域と、データの 150 輪。つまみの花は長さ {length} cm、幅 {width} cm の所にあります。",
  },
  planeHint: {
    en: "Drag the ring, or use the petal sliders. The regions change with the sepal.",
    ja: "輪を引くか、花弁のつまみを使ってください。領域はがく片の寸法で変わります。",
  },
  petalLengthAxis: { en: "petal length (cm)", ja: "花弁の長さ(cm)" },
  petalWidthAxis: { en: "petal width (cm)", ja: "花弁の幅(cm)" },

  trafficTitle: { en: "Right now", ja: "いま" },
  requestRate: { en: "Requests per second", ja: "毎秒の要求" },
  p50: { en: "Median latency", ja: "応答時間の中央値" },
  p99: { en: "99th percentile", ja: "99 パーセンタイル" },
  errorRate: { en: "Errors per second", ja: "毎秒のエラー" },
  trafficChart: { en: "Requests per second over the last minute", ja: "この 1 分の毎秒の要求" },
  trafficPeak: { en: "peak {rate}", ja: "最大 {rate}" },
  trafficMissing: {
    en: "The metrics are not served here.",
    ja: "このサーバーは指標を公開していません。",
  },
  none: { en: "none", ja: "なし" },

  modelsTitle: { en: "Models", ja: "モデル" },
  model: { en: "Model", ja: "モデル" },
  version: { en: "Version", ja: "版" },
  state: { en: "State", ja: "状態" },
  modelsCount: { en: "{count} models", ja: "{count} 個のモデル" },
  modelsOne: { en: "1 model", ja: "1 個のモデル" },
  modelsNone: { en: "No models", ja: "モデルなし" },
  modelsHint: {
    en: "Nothing is served yet. Name a model with --model_base_path, or list several in --model_config_file.",
    ja: "まだ何も提供していません。--model_base_path で 1 つ、--model_config_file でいくつかのモデルを指定してください。",
  },
  latest: { en: "latest", ja: "最新" },

  callTitle: { en: "Call a model", ja: "モデルを呼ぶ" },
  callLead: {
    en: "The request is a sample made from the signature. Edit it, send it, and take the same call with you.",
    ja: "要求はシグネチャから作った見本です。書き換えて送り、同じ呼び出しを持ち帰れます。",
  },
  signature: { en: "Signature", ja: "シグネチャ" },
  inputs: { en: "Inputs", ja: "入力" },
  outputs: { en: "Outputs", ja: "出力" },
  name: { en: "Name", ja: "名前" },
  dtype: { en: "Type", ja: "型" },
  shape: { en: "Shape", ja: "形" },
  anyShape: { en: "any", ja: "任意" },
  scalar: { en: "scalar", ja: "スカラー" },
  request: { en: "Request", ja: "要求" },
  response: { en: "Response", ja: "応答" },
  send: { en: "Send", ja: "送る" },
  sending: { en: "Sending…", ja: "送信中…" },
  newSample: { en: "Restore the sample", ja: "見本に戻す" },
  sendHint: { en: "Ctrl + Enter sends", ja: "Ctrl + Enter で送信" },
  noResponse: { en: "The answer appears here.", ja: "ここに応答が出ます。" },
  answered: { en: "{status} in {ms} ms", ja: "{status}、{ms} ミリ秒" },
  adjusted: {
    en: "The first sample was refused; this one was found after {count} tries.",
    ja: "最初の見本は断られました。{count} 回目で見つけた見本です。",
  },
  cut: { en: "The first {shown} of {total} characters.", ja: "{total} 文字のうち先頭の {shown} 文字です。" },
  unreachable: { en: "The server did not answer.", ja: "サーバーから応答がありません。" },
  obstacle_no_inputs: {
    en: "REST cannot call a signature without inputs, as in TensorFlow Serving. Use gRPC.",
    ja: "TensorFlow Serving と同じく、入力の無いシグネチャは REST では呼べません。gRPC を使ってください。",
  },
  obstacle_composite: {
    en: "“{alias}” is made of several tensors, which a request cannot name.",
    ja: "「{alias}」は複数のテンソルから成り、要求では名指しできません。",
  },
  obstacle_input_dtype: {
    en: "JSON cannot carry {dtype}, the type of the input “{alias}”. Use gRPC.",
    ja: "入力「{alias}」の型 {dtype} は JSON では送れません。gRPC を使ってください。",
  },
  obstacle_output_dtype: {
    en: "JSON cannot carry {dtype}, the type of the output “{alias}”. Use gRPC.",
    ja: "出力「{alias}」の型 {dtype} は JSON では返せません。gRPC を使ってください。",
  },
  snippetsTitle: { en: "The same call", ja: "同じ呼び出し" },
  copy: { en: "Copy", ja: "写す" },
  copied: { en: "Copied", ja: "写しました" },
  noSnippet: {
    en: "This call cannot be written this way: the request is not JSON, or has a type that this way cannot carry.",
    ja: "この書き方では表せません。要求が JSON でないか、この書き方で送れない型があります。",
  },
  noGrpcPort: {
    en: "This server does not listen for gRPC on a TCP port.",
    ja: "このサーバーは TCP のポートで gRPC を待ち受けていません。",
  },
  metadataMissing: {
    en: "The signatures could not be read: {reason}",
    ja: "シグネチャを読めません: {reason}",
  },
  connectionLost: { en: "Connection lost, retrying…", ja: "接続が切れました。再試行しています…" },
} as const satisfies Record<string, Record<Language, string>>;

export type Word = keyof typeof words;

export const isWord = (key: string): key is Word => Object.hasOwn(words, key);

/** ブラウザーの言語の並びから、頁の言語を選ぶ。 */
export function chooseLanguage(preferred: readonly string[]): Language {
  for (const tag of preferred) {
    const found = languages.find((language) => tag.toLowerCase().split("-")[0] === language);
    if (found !== undefined) return found;
  }
  return "en";
}

/** 言葉を、埋める値とともに。 */
export function say(language: Language, key: Word, values: Readonly<Record<string, string>> = {}): string {
  return words[key][language].replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
}
