import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../../src/kernel/assets/index.js";
import type { RealStack } from "../../../src/testing/real-stack.js";
import type { Network } from "./network.js";
import type { Programs } from "./programs.js";

const cniPlugins = "/usr/lib/cni";

/** Why there can be no node on this machine; undefined: there can. */
export function obstacleToNodes(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "nodes need root on Linux";
  const missing = ["containerd", "runc", "nft", "ip", "unshare", "findmnt", "ctr"].filter((name) => !isProgram(name));
  if (missing.length > 0) return `nodes need ${missing.join(", ")} (Debian: containerd, runc, nftables, iproute2)`;
  if (!existsSync(join(cniPlugins, "bridge"))) return "nodes need containernetworking-plugins";
  if (existsSync("/sys/fs/cgroup/cgroup.controllers")) return "these nodes are made for control groups of version 1";
  return undefined;
}

function isProgram(name: string): boolean {
  return ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].some((folder) => existsSync(join(folder, name)));
}

/** A node of a real cluster: its own kernel namespaces, containers by containerd. */
export interface RealNode {
  readonly name: string;
  /** Where its ports answer. */
  readonly address: string;
  /** Imports an archive of images. */
  importImages(archive: string): void;
  /** Ends it at once, with all of its containers: a power cut. */
  cut(): void;
}

export interface NodeOptions {
  readonly stack: RealStack;
  /** Where the API server answers to nodes. */
  readonly server: string;
  readonly network: Network;
  readonly programs: Programs;
  /** Folder of kubelet, kube-proxy and pause. */
  readonly built: string;
  readonly name: string;
}

/** Starts a node; it is Ready some seconds later. */
export async function startNode(options: NodeOptions): Promise<RealNode> {
  const { stack, network, programs, built, name } = options;
  const place = network.nextNode();
  const folder = join(stack.folder, `node-${name}`);
  for (const inside of ["", "kubelet", "pods", "containers", "cni", "containerd"])
    mkdirSync(join(folder, inside), { recursive: true });
  const group = `argosy-${process.pid}-${place.number}`;
  await writeConfiguration(options, { folder, group, ...place });
  programs.start("bash", [join(packageRoot(), "tests", "real", "home", "node.sh")], `node-${name}`, {
    NODE: folder,
    NAME: name,
    ADDRESS: place.address,
    GATEWAY: network.gateway,
    PODS: place.pods,
    PROGRAMS: built,
    GROUP: group,
    BRIDGE: network.bridge,
    LINK: `${network.bridge}.${place.number}`,
  });
  const pid = () => readFileSync(join(folder, "pid"), "utf8").trim();
  const enter = (...words: string[]) =>
    execFileSync("nsenter", ["-t", pid(), "-m", "-n", "-u", "-i", "-p", "--", ...words], { stdio: "pipe" });
  await programs.until(`containerd of ${name}`, async () => enter("ctr", "version").length > 0, 30);
  const node: RealNode = {
    name,
    address: place.address,
    importImages: (archive) => void enter("ctr", "-n", "k8s.io", "images", "import", archive),
    cut: () => process.kill(Number(pid()), "SIGKILL"),
  };
  node.importImages(pauseArchive(folder, built));
  return node;
}

const PAUSE = "argosy.test/pause:1";

/** An image of one static program, as `docker load` has it. */
function pauseArchive(folder: string, built: string): string {
  const from = join(folder, "pause");
  mkdirSync(from);
  const run = (...words: string[]) => execFileSync("tar", ["--owner=0", "--group=0", ...words]);
  run("-cf", join(from, "layer.tar"), "-C", built, "pause");
  const layer = execFileSync("sha256sum", [join(from, "layer.tar")], { encoding: "utf8" }).slice(0, 64);
  const architecture = process.arch === "x64" ? "amd64" : process.arch;
  const config = {
    architecture,
    os: "linux",
    config: { Entrypoint: ["/pause"] },
    rootfs: { type: "layers", diff_ids: [`sha256:${layer}`] },
  };
  writeFileSync(join(from, "config.json"), JSON.stringify(config));
  const manifest = [{ Config: "config.json", RepoTags: [PAUSE], Layers: ["layer.tar"] }];
  writeFileSync(join(from, "manifest.json"), JSON.stringify(manifest));
  const archive = join(folder, "pause.tar");
  run("-cf", archive, "-C", from, "manifest.json", "config.json", "layer.tar");
  return archive;
}

interface Place {
  readonly folder: string;
  readonly group: string;
  readonly address: string;
  readonly pods: string;
}

async function writeConfiguration({ stack, server, name }: NodeOptions, place: Place): Promise<void> {
  const { folder, group, address, pods } = place;
  const write = (file: string, text: string) => writeFileSync(join(folder, file), text, { mode: 0o600 });
  write("ca.crt", stack.caPem);
  write("resolv.conf", "");
  const serving = await stack.authority.issueServer([name, address], { commonName: `system:node:${name}` });
  write("serving.crt", serving.certPem);
  write("serving.key", serving.keyPem);
  for (const [file, user, groups] of [
    ["kubelet", `system:node:${name}`, ["system:nodes"]],
    ["kube-proxy", "system:kube-proxy", []],
  ] as const) {
    const { certPem, keyPem } = await stack.authority.issueClient(user, groups);
    write(`${file}.kubeconfig`, JSON.stringify(kubeconfigOf(server, stack.caPem, { certPem, keyPem })));
  }
  write(
    "cni/10-pods.conflist",
    JSON.stringify({
      cniVersion: "1.0.0",
      name: "pods",
      plugins: [
        {
          type: "bridge",
          bridge: "cni0",
          isGateway: true,
          hairpinMode: true,
          ipam: {
            type: "host-local",
            ranges: [[{ subnet: pods }]],
            routes: [{ dst: "0.0.0.0/0" }],
            dataDir: "/run/cni",
          },
        },
      ],
    }),
  );
  write(
    "containerd.toml",
    `version = 2
root = "${folder}/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${cniPlugins}"
    conf_dir = "${folder}/cni"
`,
  );
  write(
    "kubelet.yaml",
    JSON.stringify({
      apiVersion: "kubelet.config.k8s.io/v1beta1",
      kind: "KubeletConfiguration",
      address,
      authentication: {
        anonymous: { enabled: false },
        webhook: { enabled: true },
        x509: { clientCAFile: `${folder}/ca.crt` },
      },
      authorization: { mode: "Webhook" },
      tlsCertFile: `${folder}/serving.crt`,
      tlsPrivateKeyFile: `${folder}/serving.key`,
      containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
      cgroupDriver: "cgroupfs",
      cgroupRoot: `/${group}`,
      kubeletCgroups: `/${group}/system`,
      failCgroupV1: false,
      failSwapOn: false,
      // Nothing here is asked by name.
      clusterDNS: [],
      resolvConf: `${folder}/resolv.conf`,
      oomScoreAdj: 0,
      imageGCHighThresholdPercent: 100,
      evictionHard: { "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
    }),
  );
  write(
    "kube-proxy.yaml",
    JSON.stringify({
      apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
      kind: "KubeProxyConfiguration",
      mode: "nftables",
      clientConnection: { kubeconfig: `${folder}/kube-proxy.kubeconfig` },
      hostnameOverride: name,
      detectLocalMode: "BridgeInterface",
      detectLocal: { bridgeInterface: "cni0" },
      conntrack: { maxPerCore: 0, min: 0 },
      oomScoreAdj: 0,
    }),
  );
}

function kubeconfigOf(server: string, caPem: string, { certPem, keyPem }: { certPem: string; keyPem: string }): object {
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  return {
    apiVersion: "v1",
    kind: "Config",
    // The certificate is of the loopback; nodes come in by the bridge.
    clusters: [
      {
        name: "real",
        cluster: { server, "tls-server-name": "localhost", "certificate-authority-data": base64(caPem) },
      },
    ],
    users: [{ name: "node", user: { "client-certificate-data": base64(certPem), "client-key-data": base64(keyPem) } }],
    contexts: [{ name: "real", context: { cluster: "real", user: "node" } }],
    "current-context": "real",
  };
}
