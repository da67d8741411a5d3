import { seededRandom } from "../../../src/kernel/clock/index.js";
import type { Json } from "../../../src/kernel/kinds/object.js";

/** Seeded choices. */
export class Chance {
  readonly #random: ReturnType<typeof seededRandom>;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  int(limit: number): number {
    return this.#random.int(limit);
  }

  /** True in `share` of all calls. */
  maybe(share: number): boolean {
    return this.#random.next() < share;
  }

  pick<T>(list: readonly T[]): T {
    const item = list[this.int(list.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }

  /** One of several, by their weights. */
  weighted<T>(choices: readonly (readonly [number, T])[]): T {
    const total = choices.reduce((sum, [weight]) => sum + weight, 0);
    let left = this.#random.next() * total;
    for (const [weight, value] of choices) {
      left -= weight;
      if (left < 0) return value;
    }
    return this.pick(choices)[1];
  }
}

const long = (length: number): string => "a".repeat(length);
const names = [
  "a",
  "main",
  "data",
  "c",
  "a.b",
  "A",
  "",
  "-a",
  "a-",
  "a_b",
  "a b",
  "1a",
  "é",
  long(63),
  long(64),
  long(254),
  "a/b",
  ".",
  "..",
];
const texts = ["", "x", "a", "some text", "A-b_c.1", long(300), "true", "1", "*", "/", "é☃", `$${"{x}"}`, "$(A)", "\n"];
const paths = ["/", "/a", "a", "", "../a", "/a/../b", "/a:b", "a/b", "/data", "/a b", "a/./b"];
const quantities = [
  "1",
  "0",
  "-1",
  "100m",
  "1Gi",
  "0.5",
  "1.5Gi",
  "1e3",
  "1k",
  "abc",
  "",
  "1Ki5",
  "12345678901234567890",
  "1n",
  "0.1m",
];
const ips = [
  "10.1.2.3",
  "1.2.3",
  "",
  "::1",
  "10.1.2.3/24",
  "127.0.0.1",
  "169.254.1.1",
  "224.0.0.1",
  "010.1.2.3",
  "fd00::1",
  "0.0.0.0",
  "abc",
  "None",
];
const cidrs = ["10.0.0.0/8", "10.1.2.3/8", "10.0.0.0/33", "10.0.0.0", "fd00::/8", "", "x/8"];
const hosts = [
  "a.example.com",
  "*.example.com",
  "*",
  "A.example.com",
  "a..b",
  "",
  "10.1.2.3",
  "*.*.com",
  "foo.*.com",
  "-a.com",
];
const urls = [
  "https://127.0.0.1:1/x",
  "http://127.0.0.1/x",
  "",
  "https://",
  "x",
  "https://u:p@h/",
  "https://h/?a=b",
  "https://h/#f",
];
const labelKeys = [
  "app",
  "a.b/c",
  "A",
  "",
  "-a",
  "a/b/c",
  "kubernetes.io/x",
  "example.com/a",
  long(64),
  "a b",
  "k8s.io/y",
];
const times = [
  "2020-01-01T00:00:00Z",
  "2020-01-01T00:00:00.123456Z",
  "2020-01-01",
  "x",
  "",
  "2020-01-01T00:00:00+02:00",
  "2020-13-01T00:00:00Z",
];

/** Texts that fields of these names may hold, good and bad. */
const byName: readonly (readonly [RegExp, readonly string[]])[] = [
  [
    /^(ip|podIP|hostIP|clusterIP|loadBalancerIP|externalIPs|clusterIPs|addresses|nameservers|podIPs|hostIPs|loadBalancerSourceRanges)$/,
    [...ips, ...cidrs],
  ],
  [/cidr|except/i, cidrs],
  [/^(host|hostname|subdomain|hosts|hostnames|searches|externalName)$/, hosts],
  [/^url$/, urls],
  [/path$|^mountPath|^subPath|^workingDir|devicePath|terminationMessagePath/i, paths],
  [/^(key|topologyKey|topologyKeys|matchLabelKeys|mismatchLabelKeys|finalizers|labelKey)$/, labelKeys],
  [/name$|Name$|names$/, names],
  [/^operator$/, ["In", "NotIn", "Exists", "DoesNotExist", "Equal", "Gt", "Lt", "in", "", "X"]],
  [/^effect$/, ["NoSchedule", "NoExecute", "PreferNoSchedule", "", "X"]],
  [/^verbs$/, ["get", "list", "*", "", "bogus"]],
  [/apiGroup/, ["", "apps", "*", "rbac.authorization.k8s.io", "x"]],
  [/^(apiVersion|apiVersions|admissionReviewVersions)$/, ["v1", "apps/v1", "*", "", "a/b/c", "v1beta1"]],
  [/^resources$/, ["pods", "*", "*/*", "pods/*", "pods/status", "", "Pods", "*/scale"]],
  [/^kind$/, ["Deployment", "Pod", "ServiceAccount", "User", "Group", "", "x y", "ClusterRole", "Role"]],
  [
    /^(schedule)$/,
    ["* * * * *", "@hourly", "x", "", "* * * *", "61 * * * *", "TZ=UTC * * * * *", "*/0 * * * *", "@every 5m"],
  ],
  [/timeZone/, ["Etc/UTC", "Europe/Berlin", "Nowhere/City", "", "Local", "UTC", "local"]],
  [
    /expression|^rule$/i,
    ["true", "object.metadata.name == 'a'", "1", "object.nope", "(", "", "self.a == 'x'", "has(object.spec)"],
  ],
  [
    /^type$/,
    [
      "",
      "Opaque",
      "Container",
      "Pod",
      "Resource",
      "RollingUpdate",
      "Recreate",
      "OnDelete",
      "Utilization",
      "ClusterIP",
      "NodePort",
      "LoadBalancer",
      "ExternalName",
      "object",
      "string",
      "integer",
      "x",
    ],
  ],
];

/** Strings that somebody may write into a field. */
export function textFor(chance: Chance, name: string, format: string): string {
  if (format === "date-time") return chance.pick(times);
  if (format === "byte") return chance.pick(["", "YQ==", "YQ", "x", "!!!!", "YWJj"]);
  const list = byName.find(([pattern]) => pattern.test(name))?.[1];
  return chance.maybe(0.85) && list !== undefined ? chance.pick(list) : chance.pick(texts);
}

export function quantityFor(chance: Chance): Json {
  return chance.maybe(0.1) ? chance.pick<Json>([1, 0, -1, 1.5, 1e10]) : chance.pick(quantities);
}

export function labelKeyFor(chance: Chance): string {
  return chance.pick(labelKeys);
}

export function numberFor(chance: Chance, format: string): number {
  const common = [0, 1, -1, 2, 5, 10, 80, 100, 101, 443, 3600, 8080, 30080, 65535, 65536, 70000, 86401, 2147483647];
  return chance.maybe(0.05)
    ? chance.pick([1.5, 2147483648, -2147483649, ...(format === "int32" ? [] : [1e12])])
    : chance.pick(common);
}

export const oddValues: readonly Json[] = [null, "text", 7, 1.5, true, [], {}, ["x"], { a: 1 }, [1], [null], ""];
