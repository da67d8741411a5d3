#!/usr/bin/env bash
# A Kubernetes node in namespaces of its own: containerd, kubelet and kube-proxy, until the process ends. Called by node.ts with
#   NODE (folder), NAME, ADDRESS, GATEWAY, PROGRAMS, GROUP (name of its control groups)
# and, as `node.sh inside`, once more within the namespaces.
set -euo pipefail
hierarchies() { findmnt -nro TARGET -t cgroup; }

if [ "${1:-}" = inside ]; then
  for at in $(hierarchies); do echo 0 > "$at/$GROUP/system/cgroup.procs"; done
  mount --make-rshared /
  hostname "$NAME"
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/cni /run/settings /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers
  mount --bind "$NODE/kubelet" /var/lib/kubelet
  mount --bind "$NODE/pods" /var/log/pods
  mount --bind "$NODE/containers" /var/log/containers
  mount --bind /run/cni /var/lib/cni
  # kubelet sets these for a machine of its own; here it finds them as it wants them, and the machine keeps its own.
  while read -r key value; do
    echo "$value" > "/run/settings/${key//\//.}"
    mount --bind "/run/settings/${key//\//.}" "/proc/sys/$key"
  done <<< "vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000"
  ip link set lo up
  for _ in $(seq 200); do ip link show eth0 > /dev/null 2>&1 && break; sleep 0.05; done
  ip addr add "$ADDRESS/24" dev eth0
  ip link set eth0 up
  # Only what is here has a way; a request for a ClusterIP gets its true address before it is sent.
  ip route add 10.96.0.0/16 via "$GATEWAY"
  echo 1 > /proc/sys/net/ipv4/ip_forward
  stay() { while :; do "$@" || true; sleep 1; done >> "$NODE/$(basename "$1").log" 2>&1 & }
  stay containerd --config "$NODE/containerd.toml"
  stay "$PROGRAMS/kubelet" --config "$NODE/kubelet.yaml" --kubeconfig "$NODE/kubelet.kubeconfig" --hostname-override "$NAME" \
    --node-ip "$ADDRESS" --runtime-cgroups "/$GROUP/system"
  stay "$PROGRAMS/kube-proxy" --config "$NODE/kube-proxy.yaml"
  wait
  exit
fi

put_away() {
  trap - EXIT
  kill -KILL "$child" 2> /dev/null || true
  wait "$child" 2> /dev/null || true
  for at in $(hierarchies); do
    for _ in $(seq 50); do
      [ -d "$at/$GROUP" ] || break
      find "$at/$GROUP" -depth -type d -exec rmdir {} + 2> /dev/null || sleep 0.1
    done
  done
}
for at in $(hierarchies); do
  mkdir -p "$at/$GROUP"
  if [ -f "$at/$GROUP/cpuset.cpus" ]; then
    cat "$at/cpuset.cpus" > "$at/$GROUP/cpuset.cpus"
    cat "$at/cpuset.mems" > "$at/$GROUP/cpuset.mems"
    echo 1 > "$at/$GROUP/cgroup.clone_children"
  fi
  mkdir -p "$at/$GROUP/system"
done
unshare --net --mount --uts --ipc --pid --propagation slave --fork --kill-child --mount-proc bash "$0" inside & child=$!
trap put_away EXIT
trap exit TERM INT
for _ in $(seq 200); do
  first=$(cat "/proc/$child/task/$child/children" 2> /dev/null || true); first=${first%% *}
  [ -n "$first" ] && [ "$(readlink "/proc/$first/ns/net")" != "$(readlink /proc/self/ns/net)" ] && break
  sleep 0.05
done
ip link add "$LINK" type veth peer name eth0 netns "$first"
ip link set "$LINK" master "$BRIDGE" up
ip route replace "$PODS" via "$ADDRESS"
echo "$first" > "$NODE/pid"
wait "$child"
