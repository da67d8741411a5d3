// A reporter for `npm test`: lists the tests that were skipped, with their reasons. Tests that a filter left out are not its matter.
import { relative } from "node:path";
import { root } from "./prepare.mjs";

const unexplained = "no reason is given";

export default class SkippedTests {
  onTestRunEnd(modules) {
    const filtered = process.argv.some((word) => /^(-t|--testNamePattern)(=|$)/.test(word));
    const byReason = new Map();
    for (const module of modules) {
      for (const test of module.children.allTests("skipped")) {
        const { note } = test.result();
        if (note === undefined && filtered) continue;
        const reason = note === undefined ? unexplained : note.replace(/^skipped, because /, "");
        byReason.set(reason, [...(byReason.get(reason) ?? []), `${relative(root, module.moduleId)}: ${test.fullName}`]);
      }
    }
    for (const [reason, tests] of byReason) {
      process.stdout.write(`\nskipped, because ${reason}:\n${tests.map((test) => `  ${test}\n`).join("")}`);
    }
  }
}
