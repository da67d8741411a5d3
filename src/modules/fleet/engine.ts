import type { ClusterAccess, ControllerSpec } from "../../kernel/control/index.js";
import type { Ledger } from "../../stores/ledger/index.js";
import { BindingWriter } from "./bindings/binding-writer.js";
import { Decided } from "./bindings/decided.js";
import { OverrideWatch } from "./bindings/override-watch.js";
import { rebalancerController } from "./bindings/rebalancer.js";
import { Reports } from "./bindings/reports.js";
import { schedulerControllers } from "./bindings/scheduler.js";
import { worksControllers } from "./bindings/works.js";
import { dependenciesController } from "./dependencies/distributor.js";
import type { Interpreters } from "./interpreters/index.js";
import type { ClusterBook } from "./placement/cluster-book.js";
import type { ClaimDesk } from "./policies/claim-desk.js";
import { policyControllers } from "./policies/policy-controller.js";
import { Templates } from "./policies/templates.js";
import { bindingStatusControllers } from "./status/binding-status.js";
import { Pace } from "./status/pace.js";

/** What the engine needs besides the hub. */
export interface EngineParts {
  readonly ledger: Ledger;
  readonly interpreters: Interpreters;
  readonly book: ClusterBook;
  readonly desk: ClaimDesk;
}

/** The controllers that carry out Karmada's policies in a hub: from template and policy to binding, from binding to Works. */
export function engineControllers(
  hub: ClusterAccess,
  { ledger, interpreters, book, desk }: EngineParts,
): ControllerSpec[] {
  const templates = new Templates(hub);
  const pace = new Pace();
  const reports = new Reports(pace);
  const decided = new Decided();
  const writer = new BindingWriter(hub, { book, ledger, interpreters, decided });
  return [
    ...policyControllers({ templates, writer, book, desk }),
    ...schedulerControllers({ book, ledger, reports, decided }),
    rebalancerController(),
    dependenciesController({ templates, interpreters }),
    ...bindingStatusControllers({ templates, interpreters, pace, reports }),
    ...worksControllers({ templates, interpreters, book, overrides: new OverrideWatch(hub) }),
  ];
}
