import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { embeddedModel } from "../assets.ts";
import { type Command, UsageError } from "./command.ts";

export const exportCommand: Command = {
  name: "export",
  summary: "write the embedded SavedModel",
  help: `usage: iris-serving export DIRECTORY

  iris-serving export /models/iris           writes /models/iris/1/saved_model.pb and its variables

The directory is a valid base path for this server and for TensorFlow Serving.`,
  async run(args) {
    const [directory, ...rest] = args;
    if (directory === undefined || rest.length > 0)
      throw new UsageError("export takes exactly one directory");
    for (const [path, asset] of embeddedModel) {
      const target = join(directory, path);
      await mkdir(dirname(target), { recursive: true });
      await Bun.write(target, await Bun.file(asset).bytes());
      console.log(target);
    }
    return 0;
  },
};
