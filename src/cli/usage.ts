/** 使い方の一覧。例から始める。 */
export function usage(): string {
  return `usage: iris-serving [FLAGS]             serve models (the default)
       iris-serving COMMAND [ARGUMENTS]

  iris-serving                                           serve the embedded Iris model on 8500 and 8501
  iris-serving --model_name=m --model_base_path=/models/m
  iris-serving predict 5.1 3.5 1.4 0.2                   ask a running server about one flower
  iris-serving show /models/m/1                          signatures and kernels of a SavedModel
  iris-serving export DIRECTORY                          write the embedded SavedModel
  iris-serving warmup record /models/m/1                 make the version's warm-up file
  iris-serving health                                    exit 0 if a local server is serving

Exit codes: 0 success, 1 failed, 2 wrong usage, 255 the server could not start.
`;
}
