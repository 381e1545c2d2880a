#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Second half of a lab host's boot, on its real root: network, Soft-RoCE, then the command server as
# process 1. Every process costs milliseconds under emulation, so there are few.
set -u
. /lab/host.env
export PATH="$REPO/build/$PRESET/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export HOME=/root LANG=C.UTF-8
fatal() {
  echo "lab: $*"
  echo "$*" >/lab/failed
  sync
  echo o >/proc/sysrq-trigger
  sleep 10
}
step() { echo "lab: $* at ${EPOCHREALTIME}"; }

echo "$HOST_NAME" >/proc/sys/kernel/hostname
printf '127.0.0.1 localhost\n::1 localhost\n%s' "$HOSTS" >/etc/hosts
: >/etc/resolv.conf
# Of daemons (daemon.sh), by process: %e would be the name of the thread that crashed.
echo '/lab/core.%p' >/proc/sys/kernel/core_pattern
echo '+cpu +io +memory +pids +rdma' >/sys/fs/cgroup/cgroup.subtree_control
# Addresses are ours alone: no waiting for duplicate address detection.
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
echo 0 >/proc/sys/net/ipv6/conf/default/accept_ra

[[ -e /sys/class/net/eth0 && -e /sys/class/net/eth1 ]] || fatal 'no network devices'
# eth0 is the lab's network; mgmt0 serves `./x lab exec` only and leads nowhere else.
ip -batch - <<END || fatal 'cannot set the addresses'
link set lo up
link set eth0 mtu $MTU up
addr add $IPV4/24 dev eth0
addr add $IPV6/64 dev eth0 nodad
link set eth1 name mgmt0
link set mgmt0 up
addr add $MGMT/24 dev mgmt0
END
rdma link add rxe0 type rxe netdev eth0 || fatal 'cannot make rxe0'
cd "$REPO" || fatal "no $REPO"
step 'host is up'
[[ $INIT == systemd ]] && exec "$REPO/lab/guest/systemd.sh"
exec "$REPO/build/$PRESET/bin/qmasq-lab-exec" serve --address "$MGMT" --port 7700 \
  --token-file /lab/exec.token
