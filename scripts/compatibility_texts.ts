/** 誤りの文 1 つ。 */
interface ErrorText {
  /** 正準コードの名前。 */
  readonly codes: string;
  /** `<…>` は場合によって変わるところ。 */
  readonly text: string;
  /** 無ければ same。 */
  readonly verdict?: "differs" | "not applicable";
  readonly note?: string;
}

/**
 * TF Serving の言う誤りの文のすべてと、ここでの扱い。docs/compatibility.md の表になり、
 * 試験は「同じ」とした文の変わらない部分が src にあることを確かめる。
 */
export const errorTexts: readonly ErrorText[] = [
  { codes: "INVALID_ARGUMENT", text: "Malformed request: <method> <path>" },
  { codes: "INVALID_ARGUMENT", text: "Missing model name in request." },
  {
    codes: "INVALID_ARGUMENT",
    text: "Failed to convert version: <text> to numeric.",
    note: "REST answers with an empty body, as upstream",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Failed to decode model name:<name>",
    verdict: "not applicable",
    note: "cannot happen: every escape can be read",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Failed to decode model version label:<label>",
    verdict: "not applicable",
    note: "cannot happen",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Both model version (<v>) and model version label (<l>) cannot be supplied.",
    verdict: "not applicable",
    note: "cannot happen: no route takes both",
  },
  { codes: "INVALID_ARGUMENT", text: "JSON Parse error: The document is empty" },
  { codes: "INVALID_ARGUMENT", text: "JSON Parse error: <reason> at offset: <n>" },
  { codes: "INVALID_ARGUMENT", text: "The document is empty.", note: "a reason of `JSON Parse error`" },
  { codes: "INVALID_ARGUMENT", text: "Invalid value.", note: "a reason of `JSON Parse error`" },
  {
    codes: "INVALID_ARGUMENT",
    text: "Missing a name for object member.",
    note: "a reason of `JSON Parse error`",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Missing a colon after a name of object member.",
    note: "a reason of `JSON Parse error`",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Missing a comma or '}' after an object member.",
    note: "a reason of `JSON Parse error`",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Missing a comma or ']' after an array element.",
    note: "a reason of `JSON Parse error`",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Incorrect hex digit after \\u escape in string.",
    note: "a reason of `JSON Parse error`",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "The surrogate pair in string is invalid.",
    note: "a reason of `JSON Parse error`",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Invalid escape character in string.",
    note: "a reason of `JSON Parse error`",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Missing a closing quotation mark in string.",
    note: "a reason of `JSON Parse error`",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Number too big to be stored in double.",
    note: "a reason of `JSON Parse error`",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Miss fraction part in number.",
    note: "a reason of `JSON Parse error`",
  },
  { codes: "INVALID_ARGUMENT", text: "Miss exponent in number.", note: "a reason of `JSON Parse error`" },
  { codes: "INVALID_ARGUMENT", text: "JSON Value: <value> Is not object" },
  {
    codes: "INVALID_ARGUMENT",
    text: "JSON Value: <value> not formatted correctly. 'signature_name' key must be a string value.",
  },
  { codes: "INVALID_ARGUMENT", text: 'Serving signature name: "<name>" not found in signature def' },
  { codes: "INVALID_ARGUMENT", text: "Failed to get input map for signature: <name>" },
  {
    codes: "INVALID_ARGUMENT",
    text: "JSON Value: <value> Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
  },
  { codes: "INVALID_ARGUMENT", text: "Missing 'inputs' or 'instances' key" },
  { codes: "INVALID_ARGUMENT", text: "JSON Value: <value> Expecting 'instances' to be an list/array" },
  { codes: "INVALID_ARGUMENT", text: "JSON Value: <value> No values in 'instances' array" },
  {
    codes: "INVALID_ARGUMENT",
    text: "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map",
  },
  { codes: "INVALID_ARGUMENT", text: "Expecting object but got list at item <i> of input list" },
  { codes: "INVALID_ARGUMENT", text: "Expecting value/list but got object at item <i> of input list" },
  {
    codes: "INVALID_ARGUMENT",
    text: "Failed to process element: <i> of 'instances' list. Error: <code>: <text>",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Failed to process element: <i> key: <key> of 'instances' list. Error: <code>: <text>",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Failed to process element: <i> of 'instances' list. JSON object: <value> keys must be equal to: <names>",
  },
  { codes: "INVALID_ARGUMENT", text: "Missing named input: <name> in 'inputs' object." },
  { codes: "INVALID_ARGUMENT", text: "JSON object: does not have named input: <name>" },
  { codes: "INVALID_ARGUMENT", text: "JSON Value: <value> Type: <kind> is not of expected type: <dtype>" },
  { codes: "INVALID_ARGUMENT", text: "Expecting tensor size: <n> but got: <m>" },
  { codes: "INVALID_ARGUMENT", text: "Expecting shape <shape> but got: <shape>" },
  {
    codes: "INVALID_ARGUMENT",
    text: "Encountered list at unexpected size: <n> at level: <l> expected size: <m>",
  },
  { codes: "INVALID_ARGUMENT", text: "Encountered list at unexpected level: <l> expected < <m>" },
  {
    codes: "INVALID_ARGUMENT",
    text: "JSON Value: <value> found at incorrect level: <l> in the JSON DOM. Expected at level: <m>",
  },
  { codes: "INVALID_ARGUMENT", text: "JSON Value: <value> not formatted correctly for base64 data" },
  { codes: "INVALID_ARGUMENT", text: "Unable to base64 decode" },
  { codes: "UNIMPLEMENTED", text: "Conversion of JSON Value: <value> to type: <dtype>" },
  {
    codes: "INVALID_ARGUMENT",
    text: "JSON Value: <value> When method is classify, key 'examples' is expected and was not found",
  },
  { codes: "INVALID_ARGUMENT", text: "JSON Value: <value> Expecting 'examples' value to be an list/array" },
  { codes: "INVALID_ARGUMENT", text: "JSON Value: <value> 'examples' value is an empty array" },
  { codes: "INVALID_ARGUMENT", text: "Example must be JSON object but got JSON <kind>" },
  { codes: "INVALID_ARGUMENT", text: "Feature: <name> has element with unexpected JSON type: <kind>" },
  { codes: "INVALID_ARGUMENT", text: "Unexpected element type in feature: <name> expecting type: <kind>" },
  { codes: "INVALID_ARGUMENT", text: "Feature: <name> has uint64_t element. Only int64_t is supported." },
  { codes: "INVALID_ARGUMENT", text: "Cannot convert empty tensor map to JSON" },
  { codes: "INVALID_ARGUMENT", text: "Tensor name: <name> has no shape information " },
  { codes: "INVALID_ARGUMENT", text: "Tensor name: <name> has inconsistent batch size: <n> expecting: <m>" },
  { codes: "INVALID_ARGUMENT", text: "Failed to write JSON value for tensor type: <dtype>" },
  { codes: "INVALID_ARGUMENT", text: "Cannot convert empty ClassificationResults to JSON" },
  { codes: "INVALID_ARGUMENT", text: "Cannot convert empty RegressionResults to JSON" },
  {
    codes: "INVALID_ARGUMENT",
    text: "Invalid request format",
    verdict: "not applicable",
    note: "cannot be reached over HTTP",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Unexpected path: <path>. Should be <path>",
    note: "plain text, from the metrics path",
  },
  { codes: "INVALID_ARGUMENT", text: "Missing ModelSpec" },
  { codes: "INVALID_ARGUMENT", text: "ModelSpec has no name specified." },
  { codes: "INVALID_ARGUMENT", text: "Unrecognized servable version label: <label>" },
  { codes: "UNAVAILABLE", text: "Model labels does not init yet.<label>" },
  {
    codes: "INVALID_ARGUMENT",
    text: "ModelSpec has 'version_label' set, but it is not currently allowed by the server.",
    verdict: "not applicable",
    note: "no flag of upstream disallows labels",
  },
  { codes: "NOT_FOUND", text: "Servable not found for request: Latest(<name>)" },
  { codes: "NOT_FOUND", text: "Servable not found for request: Specific(<name>, <version>)" },
  { codes: "FAILED_PRECONDITION", text: 'Serving signature key "<name>" not found.' },
  {
    codes: "INVALID_ARGUMENT",
    text: "Expected prediction signature method_name to be one of {tensorflow/serving/predict, tensorflow/serving/classify, tensorflow/serving/regress}. Was: <name>",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "input size does not match signature: <n>!=<m> len({<aliases>}) != len({<aliases>}). Sent extra: {<aliases>}. Missing but required: {<aliases>}.",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Signature input alias: <alias>(feed name: <tensor>) not found in request and no default value provided. Inputs expected to be in the request {<aliases>}, or default input alias set: <aliases>",
  },
  { codes: "INVALID_ARGUMENT", text: "tensor parsing error: <alias>" },
  {
    codes: "INVALID_ARGUMENT",
    text: "output tensor alias not found in signature: <alias> Outputs expected to be in the set {<aliases>}.",
  },
  { codes: "INVALID_ARGUMENT", text: "duplicate output tensor alias: <alias>" },
  { codes: "INVALID_ARGUMENT", text: "Expects arg[<i>] to be <dtype> but <dtype> is provided" },
  { codes: "INVALID_ARGUMENT", text: "No signature was found with the name: <name>" },
  {
    codes: "INVALID_ARGUMENT",
    text: "Expected classification signature method_name to be tensorflow/serving/classify. Was: <name>",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Expected regression signature method_name to be tensorflow/serving/regress. Was: <name>",
  },
  { codes: "INVALID_ARGUMENT", text: "Expected one input Tensor." },
  { codes: "INVALID_ARGUMENT", text: "Expected one or two output Tensors, found <n>" },
  { codes: "INVALID_ARGUMENT", text: "Expected one output Tensor." },
  { codes: "INVALID_ARGUMENT", text: "No classification inputs found in SignatureDef: <text>" },
  { codes: "INVALID_ARGUMENT", text: "No regression inputs found in SignatureDef: <text>" },
  { codes: "INVALID_ARGUMENT", text: "No regression outputs found in SignatureDef: <text>" },
  {
    codes: "INVALID_ARGUMENT",
    text: 'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: <text>',
  },
  { codes: "INVALID_ARGUMENT", text: "Input is empty." },
  { codes: "INVALID_ARGUMENT", text: "Expected Tensor shape: [batch_size num_classes] but got <shape>" },
  { codes: "INVALID_ARGUMENT", text: "Expected classes Tensor of DT_STRING. Got: <dtype>" },
  { codes: "INVALID_ARGUMENT", text: "Expected scores Tensor of DT_FLOAT. Got: <dtype>" },
  { codes: "INVALID_ARGUMENT", text: "Expected classes output batch size of <n>. Got: <m>" },
  { codes: "INVALID_ARGUMENT", text: "Expected scores output batch size of <n>. Got: <m>" },
  { codes: "INVALID_ARGUMENT", text: "Tensors class and score should match in dim_size(1). Got <n> vs. <m>" },
  {
    codes: "INVALID_ARGUMENT",
    text: "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got <shape>",
  },
  { codes: "INVALID_ARGUMENT", text: "Input batch size did not match output batch size: <n> vs. <m>" },
  { codes: "INVALID_ARGUMENT", text: "Expected output Tensor of DT_FLOAT.  Got: <dtype>" },
  {
    codes: "INTERNAL",
    text: "Error parsing serialized input.",
    verdict: "differs",
    note: "the parse op's INVALID_ARGUMENT comes instead",
  },
  { codes: "INVALID_ARGUMENT", text: "Found ModelSpec with an empty model name." },
  {
    codes: "INVALID_ARGUMENT",
    text: "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
  },
  { codes: "INVALID_ARGUMENT", text: "Duplicate evaluation of signature: <name>" },
  { codes: "INVALID_ARGUMENT", text: "Requested signature not found in model graph: <name>" },
  { codes: "UNIMPLEMENTED", text: "Unsupported signature method_name: <name>" },
  { codes: "INVALID_ARGUMENT", text: "GetModelMetadataRequest must specify at least one metadata_field" },
  { codes: "INVALID_ARGUMENT", text: "Metadata field <name> is not supported" },
  { codes: "NOT_FOUND", text: "Could not find version <version> of model <name>" },
  { codes: "NOT_FOUND", text: "Could not find any versions of model <name>" },
  {
    codes: "INVALID_ARGUMENT",
    text: "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported",
  },
  { codes: "NOT_FOUND", text: "service name unknown" },
  {
    codes: "INTERNAL",
    text: "Error deserializing request",
    verdict: "differs",
    note: "for bytes that are no message; upstream sends its own text",
  },
  { codes: "RESOURCE_EXHAUSTED", text: "SERVER: Received message larger than max (<size> vs. <limit>)" },
  { codes: "RESOURCE_EXHAUSTED", text: "SERVER: Sent message larger than max (<size> vs. <limit>)" },
  { codes: "INTERNAL", text: "Unexpected error decompressing data for algorithm <name>" },
  { codes: "UNIMPLEMENTED", text: "Compression algorithm '<name>' is not supported", verdict: "differs" },
  { codes: "INTERNAL", text: 'Invalid grpc-timeout value "<text>"', verdict: "differs" },
  {
    codes: "UNAVAILABLE",
    text: "The answers are not read",
    verdict: "differs",
    note: "a stream of requests whose answers wait for a client that does not read",
  },
  { codes: "DEADLINE_EXCEEDED", text: "Timed out waiting for notification" },
  {
    codes: "INVALID_ARGUMENT",
    text: "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Either use_alts_credentials must be false or ssl_config_file must be empty.",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Both server_options.model_base_path and server_options.model_config_file are empty!",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Either configure server_options.tensorflow_session_parallelism or (server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all.",
  },
  { codes: "INVALID_ARGUMENT", text: "Failed to BuildAndStart gRPC server" },
  { codes: "INVALID_ARGUMENT", text: "Invalid protobuf file: '<file>'" },
  {
    codes: "any",
    text: "Failed to start server. Error: <code>: <text>",
    note: "on stderr, exit 255; upstream prints it on stdout",
  },
  { codes: "NOT_FOUND", text: "<file>; No such file or directory" },
  { codes: "log", text: "Error parsing text-format <message>: <line>:<column>: <text>" },
  {
    codes: "FAILED_PRECONDITION",
    text: "server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST API.",
    verdict: "differs",
    note: "ends the start; upstream logs it and goes on without REST",
  },
  { codes: "INVALID_ARGUMENT", text: "Supplied config's type_url could not be parsed: <url>" },
  {
    codes: "INVALID_ARGUMENT",
    text: "Couldn't find factory for config proto message type <name>",
    note: "upstream adds the message on a second line",
  },
  {
    codes: "log",
    text: "FileSystemStoragePathSource encountered a filesystem access error: <text>",
    note: "upstream at every poll, here at a limited rate",
  },
  {
    codes: "log",
    text: "Duplicate version directories detected. Version <version> will be loaded from <name>, <name> will be ignored.",
  },
  {
    codes: "log",
    text: "No versions of servable <name> found under base path <path>. Did you forget to name your leaf directory as a number (eg. '/1/')?",
  },
  {
    codes: "log",
    text: "Version <version> of servable <name>, which was requested to be served as a 'specific' version in the servable's version policy, was not found in the file system",
  },
  { codes: "log", text: "No specific versions requested for servable <name>." },
  {
    codes: "NOT_FOUND",
    text: "Unable to find a numerical version path for servable <name> at: <path>",
    verdict: "not applicable",
    note: "no flag of upstream asks for it",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Changing file_system_poll_wait_seconds is not supported",
    note: "cannot be reached through flags or configs",
  },
  { codes: "CANCELLED", text: "Loading of servable cancelled" },
  {
    codes: "NOT_FOUND",
    text: "Specified file path does not appear to contain a SavedModel bundle (should have a file called `saved_model.pb`) <newline>Specified file path: <path>",
  },
  {
    codes: "NOT_FOUND",
    text: "Could not find meta graph def matching supplied tags: { <tags> }. To inspect available tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`",
  },
  { codes: "DATA_LOSS", text: "Can't parse <file> as binary proto" },
  { codes: "UNIMPLEMENTED", text: "Session Bundle is deprecated and removed." },
  {
    codes: "FAILED_PRECONDITION",
    text: "Request to assign label to version <version> of model <name>, which is not currently available for inference",
  },
  {
    codes: "FAILED_PRECONDITION",
    text: "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another.",
  },
  { codes: "INVALID_ARGUMENT", text: "Illegal to list model <name> multiple times in config list" },
  {
    codes: "INVALID_ARGUMENT",
    text: "Expected model <name> to have an absolute path or URI; got base_path()=<path>",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Illegal to change a model's platform. For model <name> platform was <platform> and new platform requested is <platform>",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, model name is <name>",
  },
  {
    codes: "INVALID_ARGUMENT",
    text: "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, model name is <name>",
  },
  { codes: "INVALID_ARGUMENT", text: "Model <name> requests unsupported platform <platform>" },
  { codes: "INVALID_ARGUMENT", text: "No request-logger-creator provided." },
  {
    codes: "UNKNOWN",
    text: "<n> model(s) did not become available: {{{name: <name> version: <version>} due to error: <text>}, }",
  },
  {
    codes: "UNKNOWN",
    text: "<n> servable(s) did not become available: {{{name: <name> version: <version>} due to error: <text>}, }",
  },
  {
    codes: "FAILED_PRECONDITION",
    text: "PlatformConfigMap has no entry for platform <platform>",
    verdict: "not applicable",
    note: "cannot be reached",
  },
  { codes: "INVALID_ARGUMENT", text: "Batching Run() must have at least one input tensor" },
  { codes: "INVALID_ARGUMENT", text: "Batching Run() input tensors must have at least one dimension" },
  { codes: "INVALID_ARGUMENT", text: "Batching Run() input tensors must have equal 0th-dimension size" },
  { codes: "INVALID_ARGUMENT", text: "Task size <n> is larger than maximum input batch size <m>" },
  {
    codes: "UNAVAILABLE",
    text: "The batch scheduling queue to which this task was submitted is full; currently <n> batches enqueued and max_enqueued_batches is <m>",
  },
  {
    codes: "UNAVAILABLE",
    text: "The batch scheduling queue to which this task was submitted is full; task size is <n> but scheduling capacity is only <m> (num_enqueued_batches=<n>, max_enqueued_batches=<n>, open_batch_size=<n>, max_execution_batch_size=<n>)",
  },
  {
    codes: "FAILED_PRECONDITION",
    text: "Tensors with name '<tensor>' from different tasks have different shapes and padding is turned off. Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions starting with the first dim.",
  },
  { codes: "FAILED_PRECONDITION", text: "Batched output tensor has 0 dimensions" },
  {
    codes: "FAILED_PRECONDITION",
    text: "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors",
  },
  { codes: "INVALID_ARGUMENT", text: "Only tensors with rank from 1 to 6 can be padded." },
  { codes: "INVALID_ARGUMENT", text: "Got empty tensor in batch of non-empty tensors." },
  {
    codes: "INVALID_ARGUMENT",
    text: "Last entry in allowed_batch_sizes must match max_batch_size; last entry was <n>; expected <m>",
  },
  { codes: "INVALID_ARGUMENT", text: "num_batch_threads must be positive; was <n>" },
  { codes: "INVALID_ARGUMENT", text: "input_batch_size_limit must be positive; was <n>" },
  { codes: "INVALID_ARGUMENT", text: "batch_timeout_micros must be non-negative; was <n>" },
  { codes: "INVALID_ARGUMENT", text: "max_enqueued_batches must be positive; was <n>" },
  {
    codes: "INVALID_ARGUMENT",
    text: "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to max_execution_batch_size.1<n><m>",
  },
  { codes: "RESOURCE_EXHAUSTED", text: "Run() timeout exceeded while waiting in batching queue" },
  { codes: "UNIMPLEMENTED", text: "Unsupported log_type for warmup: <n>" },
  { codes: "INVALID_ARGUMENT", text: "Number of warmup records exceeds the maximum (<n>) at <path>" },
  { codes: "INVALID_ARGUMENT", text: "Failed to parse warmup record: <bytes> from <path>" },
  { codes: "DATA_LOSS", text: "<text>. Please verify your warmup data is in TFRecord format." },
];
