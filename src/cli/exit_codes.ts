/** 起動できなかったときの終了コード。TF Serving の `return -1` と同じ。 */
export const START_FAILED = 255;
