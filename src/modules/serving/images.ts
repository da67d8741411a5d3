/** The image of Argosy's own model server in pods. */
import type { JsonObject } from "../../kernel/kinds/index.js";

/** The image of the built-in model server. */
export const MODEL_SERVER_IMAGE = "argosy.dev/model-server";

/** The image of a container that has the built-in model server's; `undefined` for others. */
export function builtInImage({ image }: JsonObject): string | undefined {
  return typeof image === "string" && imageName(image) === MODEL_SERVER_IMAGE ? image : undefined;
}

/** Whether a container runs the built-in model server: its image, with no program of somebody's own in it. */
export function isBuiltInServer(container: JsonObject): boolean {
  const { command } = container;
  const isOther =
    Array.isArray(command) &&
    command.length > 0 &&
    !command.some((word) => typeof word === "string" && /(^|\/)model-server$/.test(word));
  return builtInImage(container) !== undefined && !isOther;
}

/** The image without tag and digest. */
const imageName = (image: string): string => image.replace(/@.*$/, "").replace(/:[^/:]*$/, "");
