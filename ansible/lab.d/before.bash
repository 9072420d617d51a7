# What was here before the lab, written down before anything is done, and put back at the end.
# shellcheck shell=bash disable=SC2154  # $state and $log are set by the lab

# Made by dockerd, containerd or their init script when they start.
docker_paths=(/var/lib/docker /var/lib/containerd /etc/docker /run/docker /run/docker.sock
    /run/docker.pid /run/docker-ssd.pid /run/containerd /var/log/docker.log)

before() { # NAME
    awk -v name="$1=" 'index($0, name) == 1 {print substr($0, length(name) + 1)}' "$state/before"
}
exists() { if [ -e "$1" ] || [ -L "$1" ]; then echo there; else echo absent; fi; }
with_systemd() { [ -d /run/systemd/system ]; } # sd_booted(3)
docker_runs() { timeout 10 docker version >/dev/null 2>&1; }
forwarding() { # the settings that Docker and nat networks change, global ones first: "FILE VALUE"
    local file
    for file in /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv[46]/conf/{all,default,*}/forwarding \
        /proc/sys/net/ipv6/conf/{all,default,*}/accept_ra; do
        [ ! -e "$file" ] || echo "$file $(<"$file")"
    done
}
tables() { nft list tables 2>/dev/null || true; }
unit_is() { systemctl "is-$1" "$2" 2>/dev/null || true; } # active|enabled UNIT

remember() {
    if [ -e "$state/before" ]; then
        ok "what was here before the lab is known since $(date -r "$state/before" '+%F %R')"
        return
    fi
    mkdir -p "$state"
    chmod 700 "$state"
    forwarding >"$state/forwarding"
    tables >"$state/tables"
    awk '$2 ~ "^/sys/fs/cgroup" {print $2}' /proc/self/mounts >"$state/cgroups"
    local path unit
    {
        echo "ovsnet=$(exists /opt/ovsnet/venv)"
        echo "openvswitch_role=$(exists /var/lib/ovsnet-roles/openvswitch.json)"
        echo "docker=$(docker_runs && echo ran)"
        echo "policy_v4=$(forward_policy iptables)"
        echo "policy_v6=$(forward_policy ip6tables)"
        echo "netns_mount=$(mountpoint --quiet /run/netns && echo there)"
        for path in "${docker_paths[@]}" /run/netns /sys/class/net/docker0 /sys/class/net/docker_gwbridge \
            /var/lib/ovsnet-roles; do
            echo "$path=$(exists "$path")"
        done
        if with_systemd; then
            for unit in docker.service docker.socket containerd.service; do
                echo "enabled-$unit=$(unit_is enabled "$unit")"
                echo "active-$unit=$(unit_is active "$unit")"
            done
        fi
    } >"$state/before.new"
    mv "$state/before.new" "$state/before"
    ok "noted what is here before the lab ($state)"
}

forward_policy() { # iptables|ip6tables
    { "$1" --list-rules FORWARD 2>/dev/null || true; } | sed -n 's/^-P FORWARD //p'
}

restore() {
    local in_use
    if [ "$(before docker)" = ran ]; then
        ok "Docker ran before the lab and is left as it is"
    elif docker_runs && in_use=$(docker_in_use) && [ -n "$in_use" ]; then
        ok "Docker stays, for it has things that are not the lab's: $in_use"
    else
        stop_docker
        clean_docker
        ok "Docker is stopped again; its links, rules and files are removed"
    fi
    restore_forwarding
    ok "forwarding of packets is set as before"
    if [ "$(before /var/lib/ovsnet-roles)" = absent ]; then
        rmdir /var/lib/ovsnet-roles 2>/dev/null || true
    fi
}

docker_in_use() {
    docker ps --all --format 'container {{.Names}}'
    docker image ls --format 'image {{.Repository}}:{{.Tag}}'
    docker volume ls --format 'volume {{.Name}}'
    docker network ls --filter type=custom --format 'network {{.Name}}' | grep -vx 'network docker_gwbridge' || true
}

stop_docker() {
    local unit
    if with_systemd; then
        for unit in docker.socket docker.service containerd.service; do
            [ "$(before "active-$unit")" = active ] || systemctl stop "$unit" 2>/dev/null || true
            [ "$(before "enabled-$unit")" != disabled ] || systemctl disable --quiet "$unit"
        done
    elif [ -x /etc/init.d/docker ]; then
        service docker stop >/dev/null
    fi
}

clean_docker() {
    local link path mount
    for link in docker0 docker_gwbridge; do
        [ "$(before "/sys/class/net/$link")" = there ] || ip link delete "$link" 2>/dev/null || true
    done
    clean_rules iptables "$(before policy_v4)"
    clean_rules ip6tables "$(before policy_v6)"
    drop_new_tables
    for path in "${docker_paths[@]}"; do
        [ "$(before "$path")" = there ] || rm -rf "$path"
    done
    awk '$2 ~ "^/sys/fs/cgroup" {print $2}' /proc/self/mounts | sort -r | while read -r mount; do
        grep -qxF "$mount" "$state/cgroups" || umount "$mount" 2>/dev/null || true
    done
}

clean_rules() { # iptables|ip6tables POLICY: take Docker's chains and rules out, keep all others
    command -v "$1-save" >/dev/null && command -v "$1-restore" >/dev/null || return 0
    local rules
    rules=$("$1-save" 2>/dev/null) || return 0
    if grep -qE 'DOCKER|docker0|docker_gwbridge' <<<"$rules"; then
        grep -vE 'DOCKER|docker0|docker_gwbridge' <<<"$rules" | "$1-restore"
    fi
    if [ "${2:-ACCEPT}" = ACCEPT ] && [ "$(forward_policy "$1")" = DROP ]; then
        "$1" --policy FORWARD ACCEPT
    fi
}

drop_new_tables() { # those that iptables-nft made for Docker and that hold no rule any more
    local word family name rules
    tables | while read -r word family name; do
        grep -qxF "$word $family $name" "$state/tables" && continue
        case $name in filter | nat | raw | mangle) ;; *) continue ;; esac
        rules=$(nft --json list table "$family" "$name" | grep -c '"rule"' || true)
        [ "$rules" != 0 ] || nft delete table "$family" "$name"
    done
}

restore_forwarding() { # in the order noted: writing a global switch sets it for every interface
    local file value
    while read -r file value; do
        [ ! -e "$file" ] || [ "$(<"$file")" = "$value" ] || echo "$value" >"$file"
    done <"$state/forwarding"
}

say_openvswitch() {
    if ovs-vsctl --no-wait --timeout=5 show >/dev/null 2>&1; then
        ok "Open vSwitch runs on: it ran before, or has bridges that are not the lab's"
    else
        ok "Open vSwitch is stopped again"
    fi
}
