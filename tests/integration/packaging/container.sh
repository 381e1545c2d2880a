#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# container.sh REPO STEPS OUTPUT: in namespaces of its own, makes a root (this machine's, under a
# writable layer in memory), and becomes a systemd there that runs `python3 STEPS` with its output
# in OUTPUT/steps.log, and ends.
set -eu
repo=$1 steps=$2 output=$3
mount --make-rprivate /
mount -t tmpfs layer /mnt
mkdir /mnt/up /mnt/work /mnt/root
mount -t overlay root -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t sysfs sys sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755 dev dev
for device in null zero full random urandom tty; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 pts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mkdir -p run/systemd/system run/output "./$repo"
mount --bind "$repo" "./$repo"
mount --bind "$output" run/output
# What would touch devices, clocks or logins.
for unit in systemd-udevd.service systemd-udev-trigger.service getty.target \
  systemd-remount-fs.service systemd-random-seed.service systemd-sysctl.service \
  systemd-timesyncd.service systemd-pstore.service systemd-journal-flush.service \
  systemd-modules-load.service systemd-firstboot.service ldconfig.service dev-hugepages.mount \
  dev-mqueue.mount; do
  ln -s /dev/null "run/systemd/system/$unit"
done
cat >run/systemd/system/steps.service <<END
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/usr/bin/python3 -B $steps
ExecStopPost=/bin/systemctl --no-block exit
StandardOutput=file:/run/output/steps.log
StandardError=file:/run/output/steps.log
END
printf '[Unit]\nRequires=basic.target\nWants=steps.service\n' >run/systemd/system/steps.target
mkdir old
pivot_root . old
umount -l /old
export container=lxc
exec /lib/systemd/systemd --system --unit=steps.target --log-target=console --show-status=false
