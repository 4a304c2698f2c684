#!/bin/busybox sh
# The host's first program under `cargo xtask run`: mounts, modules, and a shell.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root PS1='host:\w\$ '
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
hwclock -s -u 2>/dev/null
for module in $(cat /modules/list); do insmod "/modules/$module"; done
echo
echo "Linux $(uname -r) as Ward's host, $(nproc) CPUs"
[ -e /sys/kernel/debug/ward/log ] && echo "Ward's log: cat /sys/kernel/debug/ward/log"
[ -e /guest.ward ] && echo "A protected guest: ward run /guest.ward (exit leaves it); attacks: ward-vm-test"
if [ -e /debian.ward ]; then
    tunctl -t tap0 >/dev/null && ifconfig tap0 10.77.0.1 netmask 255.255.255.0 up
    echo "A Debian, protected: ward run /debian.ward --disk /dev/vda --net tap=tap0"
fi
echo "Leave with: poweroff -f (or Ctrl-A X, which ends QEMU)"
cd /root
setsid cttyhack sh
poweroff -f
