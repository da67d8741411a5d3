import type { ApiRequest, ApiResponse } from "../types.js";
import { jsonAnswer } from "./answers.js";

/** The version of Kubernetes whose behaviour is served. */
export const kubernetesVersion = "v1.34.4+argosy";

/** Answers /version. */
export function answerVersion(request: ApiRequest): ApiResponse | undefined {
  if (request.path !== "/version" && request.path !== "/version/") return undefined;
  return jsonAnswer({
    major: "1",
    minor: "34",
    emulationMajor: "1",
    emulationMinor: "34",
    minCompatibilityMajor: "1",
    minCompatibilityMinor: "33",
    gitVersion: kubernetesVersion,
    gitCommit: "",
    gitTreeState: "clean",
    buildDate: "1970-01-01T00:00:00Z",
    goVersion: "",
    compiler: "",
    platform: `${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}`,
  });
}
