/** The image of Argosy's own model server in pods. */
import type { JsonObject } from "../../kernel/kinds/index.js";

/** The image of the built-in model server. */
export const MODEL_SERVER_IMAGE = "argosy.dev/model-server";

/** The image of a container that is the built-in model server; `undefined` for others. */
export function builtInImage({ image }: JsonObject): string | undefined {
  return typeof image === "string" && imageName(image) === MODEL_SERVER_IMAGE ? image : undefined;
}

/** The image without tag and digest. */
const imageName = (image: string): string => image.replace(/@.*$/, "").replace(/:[^/:]*$/, "");
