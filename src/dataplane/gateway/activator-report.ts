/** From a request that met no pod to the first answer. Wall-clock milliseconds. */
export interface ColdStart {
  /** Counts up; another number is another cold start. */
  readonly number: number;
  readonly beganAt: number;
  /** The first request was handed to a pod. */
  readonly admittedAt?: number;
  readonly answeredAt?: number;
}

/** What an activator counts; sums are since the gateway began, so that two reports give the load between them. */
export interface ActivatorReport {
  readonly name: string;
  /** Monotonic milliseconds of the gateway at which this holds. */
  readonly atMs: number;
  /** Requests without a pod, and with one. */
  readonly waiting: number;
  readonly active: number;
  /** Addresses that take requests. */
  readonly pods: number;
  /** Time that all requests together have been here: its growth divided by the time between is the mean concurrency. */
  readonly busyMs: number;
  readonly arrived: number;
  readonly answered: number;
  readonly latencySumMs: number;
  readonly waitSumMs: number;
  /** full: the queue was; late: waited too long; cancelled: the client went while it waited; gone: the route went. */
  readonly refused: {
    readonly full: number;
    readonly late: number;
    readonly cancelled: number;
    readonly gone: number;
  };
  /** The last cold start. */
  readonly cold?: ColdStart;
}

/** What `GET /activators` answers. */
export interface ActivatorsReport {
  /** Of the gateway process; another one counts from 0 again. */
  readonly pid: number;
  /** For `?since=`: grows when a request meets an activator without a pod. */
  readonly turn: number;
  readonly activators: readonly ActivatorReport[];
}
