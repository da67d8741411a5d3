/**
 * The Common Expression Language as Kubernetes has it. In: rules of schemas and expressions of policies, objects. Out: faults of
 * expressions (worded as upstream), faults of objects, results.
 * May use: kernel schema, kinds and errors.
 */
export {
  AdmissionExpressions,
  type AdmissionVariables,
  compileConditions,
  conditionsHold,
  type Expression,
  namespaceValue,
  requestValue,
} from "./admission.js";
export { authorizerValues, type Judge } from "./authorizer.js";
export { checkRules, ruleWordFaults } from "./definition.js";
export { type Budget, dynamicValue, type Engine, type Program } from "./language/index.js";
export { libraryEngine } from "./libraries/index.js";
export { type RuleSet, ruleSet } from "./validate.js";
