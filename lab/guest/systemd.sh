#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Becomes systemd, with the lab's command server as a service of it. Of the machine's own units only
# what a service needs to start is run: nothing that touches devices, clocks or logins.
set -u
. /lab/host.env
units=/run/systemd/system
mkdir -p "$units"
for unwanted in systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket \
  systemd-udev-trigger.service systemd-udev-settle.service systemd-hwdb-update.service \
  systemd-remount-fs.service systemd-pstore.service systemd-timesyncd.service \
  systemd-random-seed.service systemd-journal-catalog-update.service ldconfig.service \
  systemd-journal-flush.service systemd-update-done.service systemd-machine-id-commit.service \
  systemd-firstboot.service systemd-sysctl.service systemd-modules-load.service \
  systemd-binfmt.service proc-sys-fs-binfmt_misc.automount dev-hugepages.mount \
  dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
  sys-fs-fuse-connections.mount systemd-ask-password-console.path \
  systemd-ask-password-wall.path getty.target; do
  ln -sf /dev/null "$units/$unwanted"
done
cat >"$units/qmasq-lab-exec.service" <<END
[Unit]
Description=command server of the lab
[Service]
EnvironmentFile=/lab/host.env
Environment=PATH=$PATH HOME=/root LANG=C.UTF-8
WorkingDirectory=$REPO
ExecStart=$REPO/build/$PRESET/bin/qmasq-lab-exec serve --address $MGMT --port 7700 --token-file /lab/exec.token
# What it started ends by itself or with the host.
KillMode=process
StandardOutput=journal+console
StandardError=journal+console
END
cat >"$units/qmasq-lab.target" <<END
[Unit]
Description=lab host
Requires=basic.target
Wants=qmasq-lab-exec.service network-online.target
AllowIsolate=yes
END
# systemd names the host by it.
cat /proc/sys/kernel/hostname >/etc/hostname
exec /lib/systemd/systemd --system --unit=qmasq-lab.target --log-target=console \
  --log-level=notice --show-status=false
