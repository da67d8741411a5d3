// A reporter for `npm run test:real`: notes each file in which a test failed in the file ARGOSY_FAILED_FILES, at once, for a run may be stopped.
import { appendFileSync } from "node:fs";

export default class FailedFiles {
  onTestModuleEnd(module) {
    if (module.state() === "failed") appendFileSync(process.env["ARGOSY_FAILED_FILES"], `${module.moduleId}\n`);
  }
}
