/**
 * The Common Expression Language as Kubernetes has it. In: rules of schemas and expressions of policies, objects. Out: faults of
 * expressions (worded as upstream), faults of objects, results. `engine.unsafe.ts` is the one file that knows the library.
 * May use: kernel schema, kinds and errors.
 */
export {
  AdmissionExpressions,
  type AdmissionVariables,
  compileConditions,
  conditionsHold,
  type Expression,
  requestValue,
} from "./admission.js";
export { authorizerValue, type Judge } from "./authorizer.js";
export { checkRules, ruleWordFaults } from "./definition.js";
export type { Budget, Compiled, Engine, Program } from "./engine.unsafe.js";
export { libraryEngine } from "./libraries/index.js";
export { type RuleSet, ruleSet } from "./validate.js";
export { dynamicValue } from "./values.js";
