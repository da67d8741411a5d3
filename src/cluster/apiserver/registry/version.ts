import { kubernetesVersion } from "../../../kernel/assets/index.js";
import type { ApiRequest, ApiResponse } from "../types.js";
import { checkRoute, jsonAnswer } from "./answers.js";

/** The version that the server says it is. */
export const servedVersion = `${kubernetesVersion}+argosy`;

/** Answers /version. Throws 405, 406. */
export function answerVersion(request: ApiRequest): ApiResponse | undefined {
  if (request.path !== "/version" && request.path !== "/version/") return undefined;
  checkRoute(request, ["application/json"]);
  return jsonAnswer({
    major: "1",
    minor: "34",
    emulationMajor: "1",
    emulationMinor: "34",
    minCompatibilityMajor: "1",
    minCompatibilityMinor: "33",
    gitVersion: servedVersion,
    gitCommit: "",
    gitTreeState: "clean",
    buildDate: "1970-01-01T00:00:00Z",
    goVersion: "",
    compiler: "",
    platform: `${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}`,
  });
}
