# Three machines on this machine, segments that span them, and what they prove.
# shellcheck shell=bash disable=SC2154  # $state, $log, $here and $image are set by the lab

fleet_networks=(lab-red lab-blue) # segments; both have the same subnet
fleet_net=10.50.0 # the container on host 2 has 10.50.0.12, in both

fleet_names() { seq --format 'lab-host-%g' "$(<"$state/hosts")"; }
host_number() { echo "${1##*-}"; }
on() { in_machine "$1" "${@:2}"; }
power() { # on|off HOST
    if [ "$1" = off ]; then
        machine_kill "$2"
        ok "$2 has no power"
    else
        machine_start "$2" "$(host_number "$2")"
        host_boot "$2"
        ok "$2 is up"
    fi
}
fleet_has() { # HOST on|off: refuses what is not so
    local power=off
    if [ ! -e "$state/hosts" ] || ! fleet_names | grep -qx -e "$1"; then
        echo "The lab has no host $1; its hosts: $([ ! -e "$state/hosts" ] || fleet_names | paste -sd' ')" >&2
        exit 1
    fi
    ! machine_runs "$1" || power=on
    [ "$power" = "$2" ] || { echo "$1 has its power $power; type: ansible/lab power $2 $1" >&2 && exit 1; }
}
on_docker() { # HOST DOCKER-ARGUMENT...
    on "$1" "docker $(printf '%q ' "${@:2}")"
}

fleet_packages() { # installed here, where nothing of them is started; the machines see them
    local wanted=(ansible-core busybox-static iproute2 iputils-ping ethtool python3-venv openssl nftables
        openvswitch-switch ovn-central ovn-host docker.io) missing=() package unit
    # shellcheck source=/dev/null
    [ "$(. /etc/os-release && echo "$ID")" != debian ] || wanted+=(docker-cli)
    for package in "${wanted[@]}"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        local policy=/usr/sbin/policy-rc.d own=
        [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && own=yes; }
        quietly "install ${missing[*]}" bash -c \
            'apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends "$@"' install "${missing[@]}"
        [ -z "$own" ] || rm -f "$policy"
        # Nor at the next boot.
        for package in "${missing[@]}"; do
            for unit in $(dpkg-query --listfiles "$package" | grep -oE '/systemd/system/[^/@]+\.(service|socket)$'); do
                ! with_systemd || systemctl --quiet disable "${unit##*/}" 2>/dev/null || true
            done
        done
    fi
    ok "packages: ${wanted[*]}"
}

fleet_play() { # WHAT ARGUMENT...
    local what=$1
    shift
    quietly "$what" ansible-playbook -i "$state/hosts.ini" "$@"
}

fleet_runs() { # prints the first host with power
    local host
    for host in $(fleet_names); do
        ! machine_runs "$host" || { echo "$host" && return; }
    done
    return 1
}

host_boot() { # HOST: what its init would start, in that order
    local number
    number=$(host_number "$1")
    quietly "start the services of $1" in_machine "$1" "set -e
        /etc/init.d/openvswitch-supervised start
        ip address flush dev eth0
        ip address replace $underlay.$number/24 dev br-wire
        ip link set br-wire up
        /etc/init.d/ovn-supervised start
        /etc/init.d/ovsnet start
        # As the role does where the script gives up, because it may not raise its limits.
        /etc/init.d/docker start || start-stop-daemon --start --oknodo --background --make-pidfile \\
            --pidfile /run/docker-ssd.pid --output /var/log/docker.log --exec \$(command -v dockerd) -- -p /run/docker.pid"
    within 60 on "$1" "docker version" >/dev/null 2>&1
}

fleet_up() { # COUNT
    local host names
    head_line "$1 machines on this machine, a namespace each"
    if [ ! -e "$state/hosts" ]; then
        mkdir -p "$state"
        chmod 700 "$state"
        awk '$2 ~ "^/sys/fs/cgroup" {print $2}' /proc/self/mounts >"$state/cgroups"
        [ ! -d /run/netns ] || touch "$state/netns"
        echo "$1" >"$state/hosts"
    elif [ "$(<"$state/hosts")" != "$1" ]; then
        echo "A lab of $(<"$state/hosts") hosts is up; take it away first: ansible/lab down" >&2
        return 1
    fi
    mapfile -t names < <(fleet_names)
    fleet_packages
    mkdir -p "$machines/shared"
    note "packing ovsnet, then applying ansible/site.yml; the first time takes some minutes (tail -f $log)"
    quietly "pack ovsnet" machines_wheels
    machines_wire
    fleet_runs >/dev/null || rm -rf "$machines"/lab-host-* # nothing of before this machine's restart
    for host in "${names[@]}"; do
        ! machine_runs "$host" || continue
        machine_start "$host" "$(host_number "$host")"
        [ ! -e "$machines/$host/upper/etc/init.d/ovsnet" ] || host_boot "$host"
    done
    machines_inventory "$(($1 < 3 ? 1 : 3))" "${names[@]}" >"$state/hosts.ini"
    fleet_play "put the hosts' addresses on Open vSwitch" "$here/lab.d/underlay.yml"
    fleet_play "apply the roles" "$here/site.yml"
    for host in "${names[@]}"; do
        ok "$host: $underlay.$(host_number "$host"), $(on "$host" "ovsnet --version" | tr ',\n' '  ')"
    done
    ok "OVN's databases on $(grep -c . < <(sed -n '/^\[ovn_central\]/,/^\[all/{/^lab/p}' "$state/hosts.ini")) of them"
    fleet_scene "${names[@]}"
    fleet_prove "${names[@]}"
    fleet_show
    if [ "$failures" -gt 0 ]; then
        printf '\n%s of the proofs failed. What a host lacks: ansible/lab on lab-host-1 ovsnet check\n' "$failures"
        return 1
    fi
    printf '\nThe lab is up. Try: ansible/lab on lab-host-1 docker exec -it lab-red-1 sh\nTake it away again: ansible/lab down\n'
}

fleet_scene() { # HOST...
    local network host
    head_line "Two segments with one subnet: docker network create --driver ovsnet -o ovs.segment=NAME …"
    for host; do
        on_image "$host"
        for network in "${fleet_networks[@]}"; do
            # The others would have it from the first; Docker takes --ip only where it is said.
            on "$host" "docker network inspect $network >/dev/null 2>&1" || quietly "create $network on $host" \
                in_machine "$host" "docker network create --driver ovsnet --ipam-driver ovsipam -o ovs.segment=$network --ipam-opt ipam.segment=$network --subnet $fleet_net.0/24 $network"
        done
    done
    for network in "${fleet_networks[@]}"; do ok "$network on $*: $fleet_net.0/24"; done
    head_line "A container of each segment on each host, with a small web server"
    for host; do
        for network in "${fleet_networks[@]}"; do fleet_container "$host" "$network"; done
    done
}

on_image() { # HOST
    on "$1" "docker image inspect $image >/dev/null 2>&1" && return
    local tree
    tree=$(image_tree)
    tar --create --directory "$tree" . | on "$1" "docker import - $image" >/dev/null
    rm -rf "$tree"
}

fleet_container() { # HOST NETWORK
    local name
    name=$2-$(host_number "$1")
    if [ "$(on "$1" "docker inspect --format '{{.State.Running}}' $name 2>/dev/null")" != true ]; then
        on "$1" "docker rm --force $name" >/dev/null 2>&1 || true
        quietly "start the container $name on $1" in_machine "$1" \
            "docker run --detach --name $name --hostname $name --network $2 --ip $fleet_net.1$(host_number "$1") $image sh -c 'hostname > /www/index.html && exec httpd -f -p 80 -h /www'"
    fi
    ok "$name on $1: $(fleet_address "$1" "$name")"
}

fleet_address() { # HOST CONTAINER
    on "$1" "docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' $2"
}
fleet_pings() { on "$1" "docker exec $2 ping -c 1 -W 2 $3" >/dev/null 2>&1; }                    # HOST CONTAINER TO
fleet_fetches() { on "$1" "docker exec $2 wget -q -T 3 -O - http://$3/" 2>/dev/null; }            # HOST CONTAINER TO
fleet_fetches_from() { [ "$(fleet_fetches "$1" "$2" "$3")" = "$4" ]; }                            # … NAME

fleet_prove() { # HOST...
    local from=$1 to=$2 last=${*: -1} address lost heir=lab-red-heir
    head_line "What reaches what"
    address=$(fleet_address "$to" lab-red-2)
    if within 20 fleet_pings "$from" lab-red-1 "$address"; then
        ok "lab-red-1 on $from pings lab-red-2 on $to"
    else
        wrong "lab-red-1 on $from does not reach lab-red-2 on $to by ping"
    fi
    if within 20 fleet_fetches_from "$from" lab-red-1 "$address" lab-red-2; then
        ok "lab-red-1 fetches a page from lab-red-2 by TCP"
    else
        wrong "lab-red-1 does not reach lab-red-2 by TCP"
    fi
    if within 20 fleet_fetches_from "$from" lab-red-1 lab-red-2 lab-red-2; then
        ok "the same by name, from OVN"
    else
        wrong "lab-red-1 does not find lab-red-2 by name"
    fi
    if fleet_fetches_from "$from" lab-blue-1 "$address" lab-blue-2; then
        ok "lab-blue-1 asks the same address, and gets lab-blue-2: the segments do not see each other"
    else
        wrong "lab-blue-1 does not reach lab-blue-2, or reaches somebody else"
    fi
    head_line "A host dies"
    lost=$(fleet_address "$last" "lab-red-$(host_number "$last")")
    machine_kill "$last"
    ok "$last is killed; it had $lost"
    if within 30 on "$from" "docker run --rm --network lab-red $image true" >/dev/null 2>&1; then
        ok "containers start on $from"
    else
        wrong "no container starts on $from"
    fi
    if fleet_pings "$from" lab-red-1 "$address"; then
        ok "lab-red-1 reaches lab-red-2 still"
    else
        wrong "lab-red-1 does not reach lab-red-2 any more"
    fi
    note "waiting until $last counts as silent"
    if within 150 on "$from" "ovsnet host forget --yes $last" >>"$log" 2>&1; then
        ok "ovsnet host forget $last"
    else
        wrong "$last cannot be forgotten: $(on "$from" "ovsnet host forget --yes $last" 2>&1 | tail -n 1)"
    fi
    if on "$from" "docker run --detach --name $heir --network lab-red --ip $lost $image sleep 600" >>"$log" 2>&1; then
        ok "its address $lost is given to a container on $from"
    else
        wrong "its address $lost is not given to others"
    fi
    on "$from" "docker rm --force $heir" >/dev/null 2>&1 || true
    machine_start "$last" "$(host_number "$last")"
    host_boot "$last"
    fleet_container "$last" lab-red
    fleet_container "$last" lab-blue
    if within 30 fleet_pings "$from" lab-red-1 "$(fleet_address "$last" "lab-red-$(host_number "$last")")"; then
        ok "$last is back, and reached"
    else
        wrong "$last is not reached after it came back"
    fi
}

fleet_show() {
    local command host
    host=$(fleet_runs) || { echo "None of them has power; start one: ansible/lab power on lab-host-1" && return; }
    for command in "ovsnet host ls" "ovsnet status"; do
        printf '\n$ ansible/lab on %s %s\n' "$host" "$command"
        on "$host" "$command" 2>&1 | sed 's/^/  /' || true
    done
}

fleet_down() {
    local group
    head_line "The machines, with all that is in them"
    machines_remove
    while read -r group; do # what their Dockers made
        [ ! -d "$group/docker" ] || find "$group/docker" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done <"$state/cgroups"
    if [ ! -e "$state/netns" ] && [ -z "$(ls -A /run/netns 2>/dev/null)" ]; then
        while mountpoint --quiet /run/netns; do umount /run/netns; done
        rm -rf /run/netns
    fi
    rm -rf "$state"
    ok "removed"
    printf '\nThe machine is as it was before the lab, apart from packages.\n'
}
