/**
 * What the kinds of Kubernetes do beyond their schemas: defaults, validation, immutable fields, status, columns. Tables
 * by kind, read by the registry. In: nothing. Out: `behaviours`. May use: the registry's vocabulary (faults, names, readers).
 */
import type { BehaviourTable } from "../registry/behaviour.js";

/** Behaviour of native kinds by `group/Kind`. */
export const behaviours: BehaviourTable = {};
