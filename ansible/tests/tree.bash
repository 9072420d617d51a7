# A fresh Debian in a folder, with a network of its own, for the tests beside this file and others.
# Nothing of the machine's own namespaces is touched; `tree_clean` removes everything again.
# shellcheck shell=bash disable=SC2016  # what stays in single quotes is for others to expand

tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$tests/../.." && pwd)

tree_need() { # on the machine that runs the test
    local package missing=()
    for package in debootstrap systemd-container slirp4netns iproute2; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed \
            || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        apt-get update --quiet --quiet
        apt-get install --quiet --quiet --yes --no-install-recommends "${missing[@]}"
    fi
}

tree_make() { # NAME SUITE [FOLDER]: in FOLDER, if it is named, which stays for the next time
    name=$1 suite=$2 kept=${3-}
    work=${kept:-$(mktemp --directory "${TMPDIR:-/var/tmp}/$name.XXXXXX")}
    tree=$work/tree
    trap tree_clean EXIT
    trap 'exit 1' INT TERM
    if [ "$(cat "$work/made" 2>/dev/null)" != "$suite" ]; then
        rm -rf --one-file-system "$tree"
        if [ -n "${OVSNET_TREE_BASE-}" ] && [ -d "$OVSNET_TREE_BASE" ]; then
            cp --archive "$OVSNET_TREE_BASE" "$tree"
        else
            debootstrap --variant=minbase "$suite" "$tree" "$(debian_mirror)" >"$work/debootstrap.log" \
                || { tail "$work/debootstrap.log"; return 1; }
        fi
        echo "$suite" >"$work/made"
    fi
    use_this_machines_registries
    # What a clone would have, and what is not committed yet; beside what was installed there before.
    mkdir -p "$tree/srv/ovsnet"
    find "$tree/srv/ovsnet" -mindepth 1 -maxdepth 1 ! -name .venv ! -name .tools ! -name .controller \
        -exec rm -rf {} +
    git -C "$repository" ls-files -z --cached --others --exclude-standard \
        | (cd "$repository" && xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' names) \
        | tar --create --directory "$repository" --null --files-from=- | tar --extract --directory "$tree/srv/ovsnet"
}

machines_suite() { # of this machine, if it is a Debian
    # shellcheck source=/dev/null
    (. /etc/os-release && [ "$ID" != debian ] || echo "${VERSION_CODENAME-}")
}

debian_mirror() { # the first archive that this machine's apt uses for the release itself
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null \
        | awk -v suite="$(machines_suite)" '$1 ~ /^http/ && $2 == suite && $3 == "main" {print $1; exit}' \
        | grep . || echo http://deb.debian.org/debian
}

use_this_machines_registries() {
    local file
    rm -f "$tree/etc/apt/sources.list" "$tree"/etc/apt/sources.list.d/*
    if [ "$suite" = "$(machines_suite)" ]; then
        for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
            # Not those of folders of this machine.
            [ -e "$file" ] && ! grep -qE '(URIs:|^deb.*) *(file|copy|cdrom):' "$file" \
                && cp --parents "$file" "$tree/"
        done
    else
        printf 'deb %s %s main\n' "$(debian_mirror)" "$suite" >"$tree/etc/apt/sources.list"
    fi
    for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/* /etc/apt/auth.conf /etc/apt/auth.conf.d/*; do
        [ -e "$file" ] && ! dpkg-query --search "$file" >/dev/null 2>&1 && cp --parents "$file" "$tree/"
    done
    for file in /etc/ssl/certs /usr/local/share/ca-certificates /usr/share/ca-certificates \
        /etc/pip.conf /etc/xdg/pip /root/.config/pip; do
        [ ! -e "$file" ] || cp --archive --parents "$file" "$tree/"
    done
    rm -f "$tree/etc/resolv.conf"
    cp /etc/resolv.conf "$tree/etc/resolv.conf"
    env | grep -E '^(PIP_|SSL_CERT|REQUESTS_CA_BUNDLE|https?_proxy|HTTPS?_PROXY|no_proxy|NO_PROXY)' \
        >"$tree/etc/environment" || true
}

tree_network() { # a namespace of its own; packages come in through a user-space NAT
    ip netns add "$name"
    ip -netns "$name" link set lo up
    slirp4netns --configure --mtu=1500 --netns-type=path "/run/netns/$name" tap0 \
        >"$work/slirp4netns.log" 2>&1 &
    slirp=$!
    local try
    for try in $(seq 50); do
        ip -netns "$name" route show default | grep -q . && return
        sleep 0.2
    done
    cat "$work/slirp4netns.log"
    echo "no network in the tree after $try tries" >&2
    return 1
}

# The kernel's receive buffer of new sockets, which the tree shares with this machine. In a network
# namespace of its own it shows read-only; lent below /srv, whoever runs in there may change it.
tree_lend_receive_buffer() {
    receive_buffer=$(</proc/sys/net/core/rmem_default)
    : >"$tree/srv/receive-buffer"
}

tree_run() ( # NSPAWN-OPTION... -- COMMAND...; in a subshell, for it moves to other control groups
    environment=() environment_of_nspawn=(
        SYSTEMD_SECCOMP=0 SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 SYSTEMD_NSPAWN_LOCK=0)
    enter_cgroups
    while read -r line; do
        environment+=("--setenv=$line")
    done <"$tree/etc/environment"
    # The tree is a machine of its own: it may do all that root may, and write kernel settings.
    # nspawn keeps notes below /run/systemd; here they go with its mount namespace.
    mkdir -p /run/systemd/nspawn
    # Newer systemd boots on control groups of version 2 alone, which need not be this machine's.
    [ "$suite:$1" != forky:--boot ] || environment_of_nspawn+=(SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1)
    env "${environment_of_nspawn[@]}" \
        unshare --mount --propagation private \
        sh -c 'mount -t tmpfs tmpfs /run/systemd/nspawn || exit 1
            [ ! -e "$0" ] || mount --bind /proc/sys/net/core/rmem_default "$0" || exit 1
            exec "$@"' "$tree/srv/receive-buffer" \
        systemd-nspawn --quiet --register=no --keep-unit --directory="$tree" --machine="$name" \
        --capability=all --network-namespace-path="/run/netns/$name" --bind=/dev/net/tun \
        --resolv-conf=off --timezone=off --link-journal=no "${environment[@]}" "$@"
)

# Below a control group of its own, so that what Docker makes in the tree can be removed again.
enter_cgroups() {
    local group file
    for group in $(control_groups); do
        mkdir -p "$group/$name"
        # A cpuset takes no process before it has these.
        for file in cpuset.cpus cpuset.mems; do
            [ ! -e "$group/$file" ] || cat "$group/$file" >"$group/$name/$file" 2>/dev/null || true
        done
        echo "$BASHPID" >"$group/$name/cgroup.procs"
    done
}

control_groups() { awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/self/mounts; }

tree_clean() {
    local rc=$?
    trap - EXIT
    set +e
    [ -z "${machine-}" ] || { kill "$machine"; wait "$machine"; } 2>/dev/null
    [ -z "${slirp-}" ] || { kill "$slirp"; wait "$slirp"; } 2>/dev/null
    if [ -n "${receive_buffer-}" ] && [ "$(</proc/sys/net/core/rmem_default)" != "$receive_buffer" ]; then
        echo "$receive_buffer" >/proc/sys/net/core/rmem_default
    fi
    if [ -n "${name-}" ]; then
        ip netns delete "$name" 2>/dev/null
        control_groups | while read -r group; do
            find "$group/$name" -depth -type d -exec rmdir {} + 2>/dev/null
        done
    fi
    if [ -n "${kept-}" ]; then
        :
    elif [ -n "${OVSNET_TREE_KEEP-}" ]; then
        echo "kept: $work"
    elif [ -n "${work-}" ]; then
        rm -rf --one-file-system "$work"
    fi
    exit "$rc"
}
