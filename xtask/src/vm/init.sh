#!/bin/busybox sh
# The first process of a test guest: mounts what a host has, runs the tests, says how they ended, powers off.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root AUDIT_AGENT_BIN=/bin/audit-agent RUST_BACKTRACE=1
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
hostname guest
until [ -c /dev/@PORT@ ]; do sleep 0.1; done
stty -F /dev/@PORT@ raw -echo
guest > /dev/@PORT@ 2>&1 < /dev/null
echo "RESULT $?" > /dev/@PORT@
sync
poweroff -f
