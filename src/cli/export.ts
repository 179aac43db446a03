import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { readPayload } from "../payload.ts";
import { type Command, UsageError } from "./command.ts";
import { parseFlags } from "./command_flags.ts";

export const exportCommand: Command = {
  name: "export",
  summary: "write the embedded SavedModel",
  synopsis: "DIRECTORY",
  examples: [
    ["iris-serving export /models/iris", "writes /models/iris/1/saved_model.pb and its variables"],
    ["iris-serving export out && saved_model_cli show --dir out/1 --all", "TensorFlow's own tool reads it"],
  ],
  notes: "The directory is a valid base path for this server and for TensorFlow Serving.",
  flags: {},
  completes: "directory",
  exitCodes: [
    [0, "written"],
    [1, "the directory cannot be written"],
  ],
  async run(args) {
    const [directory, ...rest] = parseFlags({}, args).positionals;
    if (directory === undefined || rest.length > 0)
      throw new UsageError("export takes exactly one directory");
    const { model } = await readPayload();
    for (const [path, bytes] of model) {
      const target = join(directory, path);
      try {
        await mkdir(dirname(target), { recursive: true });
        await Bun.write(target, bytes);
      } catch (thrown) {
        console.error(`cannot write ${target}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
        return 1;
      }
      console.log(target);
    }
    return 0;
  },
};
