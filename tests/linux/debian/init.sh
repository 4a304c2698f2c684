#!/bin/bash
# The first program of a Debian guest: with `ward.scenario=check` it looks at its system with that
# system's own programs, restarts, looks again and powers off; otherwise it is a shell for people. Lines
# are those of tests/linux/src/report.rs, with the mark WARD-GUEST.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root LC_ALL=C TERM=linux
export DEBIAN_FRONTEND=noninteractive

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp

# The value of a word of the kernel's command line.
word() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
host=$(word ward.net) here=$(word ward.address)
kept=/var/lib/ward
hostname debian

network() {
    [ -n "$host" ] || return 0
    for _ in $(seq 50); do [ -e /sys/class/net/eth0 ] && break; sleep 0.1; done
    ip link set lo up
    ip address add "$here/24" dev eth0 && ip link set eth0 up
}

leave() {
    # A machine that is switched off does not wait for its UART; a change of its settings does.
    stty --file=/dev/console sane
    sync
    mount -o remount,ro /
    echo "$1" > /proc/sysrq-trigger
    sleep 60
}

if [ "$(word ward.scenario)" != check ]; then
    [ -e /sys/class/net/eth0 ] && network
    echo "Debian $(cat /etc/debian_version), a protected guest: its host cannot see what is in here."
    echo "Its disk is the host's: what must stay private there has to be encrypted here. Leave with: exit"
    cd /root || exit
    setsid --ctty --wait bash -l < /dev/ttyAMA0 > /dev/ttyAMA0 2>&1
    leave o
fi

# Each check prints what went wrong, and fails.

os_release() {
    . /etc/os-release
    echo "ID is $ID, $PRETTY_NAME"
    [ "$ID" = debian ] && [ "$(dpkg --print-architecture)" = arm64 ]
}
packages() {
    local installed wrong
    installed=$(dpkg -l | grep -c '^ii')
    wrong=$(dpkg -l | tail -n +6 | grep -v '^ii'; dpkg --audit)
    echo "$installed packages installed; $wrong"
    [ "$installed" -gt 50 ] && [ -z "$wrong" ]
}
protected() {
    echo "the kernel's log names no restricted DMA pool"
    dmesg | grep -q 'restricted DMA pool'
}
root_on_disk() {
    findmnt --noheadings --output SOURCE,FSTYPE / | tee /dev/stderr 2>&1
    [ "$(findmnt --noheadings --output SOURCE,FSTYPE / | xargs)" = "/dev/vda ext4" ]
}
disk_write() {
    mkdir -p $kept && head -c 8M /dev/urandom > $kept/data && cd $kept && sha256sum data > sums && sync
}
disk_kept() {
    cd $kept && sha256sum --check sums && ward-hello && cp sums for-the-host && sync
}
network_up() {
    network && ip -brief address show eth0
}
# To the host: the last line of its answer to a request for a file.
answer() {
    exec 3<> "/dev/tcp/$host/80" || return 1
    printf 'GET /greeting HTTP/1.0\r\n\r\n' >&3
    tail -n 1 <&3
    exec 3<&- 3>&-
}
http_get() {
    local said
    said=$(answer)
    echo "the host answers: $said"
    [ "$said" = "from the host" ]
}
# From the host: it connects and says a word.
host_connects() {
    perl -MIO::Socket::INET -e '
        my $listen = IO::Socket::INET->new(Listen => 1, LocalPort => 7777, ReuseAddr => 1) or die "no socket: $!";
        $SIG{ALRM} = sub { die "nobody connected\n" };
        alarm 60;
        my $host = $listen->accept or die "no connection: $!";
        my $said = <$host>;
        die "the host said $said" if $said ne "from the host\n";
        print $host "from the guest\n";
    ' 2>&1
}
apt_update() {
    echo "deb [trusted=yes] http://$host/ ./" > /etc/apt/sources.list
    rm -rf /etc/apt/sources.list.d/*
    apt-get -q update 2>&1
}
apt_install() {
    apt-get -q -y install ward-hello 2>&1 && [ "$(cat /var/lib/ward-hello)" = configured ] && ward-hello
}

first=(os_release packages protected root_on_disk disk_write network_up http_get host_connects apt_update apt_install)
last=(os_release packages protected root_on_disk disk_kept)

results=()
say() { echo "WARD-GUEST $*"; }
result() { say "$*"; results+=("$*"); }
check() {
    local name=${1//_/-} said
    say "begin $name"
    if said=$($1); then
        result "ok $name"
    else
        result "FAILED $name: $(tail -n 5 <<< "$said" | tr '\n' ';')"
    fi
}
# All checks of a boot; results are said twice, in case another line tears one.
boot() {
    local name=$1 one
    shift
    local names=$*
    say "plan $name: ${names//_/-}"
    for one in "$@"; do check "$one"; done
    for one in "${results[@]}"; do say "$one"; done
    say "end $name"
}

if [ -e $kept/sums ]; then
    boot last "${last[@]}"
    leave o
else
    boot first "${first[@]}"
    leave b
fi
