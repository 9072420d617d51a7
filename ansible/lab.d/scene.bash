# Networks, containers and a stand-in for the world outside, and what they prove.
# shellcheck shell=bash disable=SC2154  # $state and $log are set by the lab

image=ovsnet-lab/busybox:latest
networks=(lab-red lab-blue)
containers=(lab-red-1 lab-red-2 lab-blue-1)
outside=lab-outside # a network namespace
wire=lab-wire       # the host's end of the veth that leads there

build_scene() {
    head_line "Two networks: docker network create --driver ovsnet --ipam-driver ovsipam NAME"
    local network container
    make_image
    for network in "${networks[@]}"; do
        docker network inspect "$network" >/dev/null 2>&1 \
            || quietly "create the network $network" \
                docker network create --driver ovsnet --ipam-driver ovsipam "$network"
        ok "$network: $(docker network inspect --format '{{(index .IPAM.Config 0).Subnet}}' "$network")"
    done
    head_line "Three containers, each with a small web server"
    for container in "${containers[@]}"; do
        if [ "$(docker inspect --format '{{.State.Running}}' "$container" 2>/dev/null)" != true ]; then
            docker rm --force "$container" >/dev/null 2>&1 || true
            quietly "start the container $container" docker run --detach --name "$container" \
                --hostname "$container" --network "${container%-*}" "$image" \
                sh -c 'hostname > /www/index.html && exec httpd -f -p 80 -h /www'
        fi
        ok "$container on ${container%-*}: $(address "$container")"
    done
    head_line "A stand-in for the world outside: a network namespace on a wire"
    build_outside
}

make_image() { # from the host's static busybox, so that no registry is needed
    docker image inspect "$image" >/dev/null 2>&1 && return
    local tree
    tree=$(image_tree)
    tar --create --directory "$tree" . | docker import - "$image" >/dev/null
    rm -rf "$tree"
}

image_tree() { # prints the folder that it makes
    local tree
    tree=$(mktemp --directory "$state/image.XXXXXX")
    mkdir -p "$tree"/{bin,www,tmp,etc,root}
    cp "$(command -v busybox)" "$tree/bin/busybox"
    "$tree/bin/busybox" --list | while read -r applet; do
        [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"
    done
    echo "$tree"
}

address() { # CONTAINER
    docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"
}

gateway() { # CONTAINER
    docker inspect --format '{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}' "$1"
}

# One of the three nets for documentation (RFC 5737) that this machine has no route to.
free_net() {
    local net
    for net in 198.51.100 203.0.113 192.0.2; do
        if [ -z "$(ip -4 route show root "$net.0/24")" ]; then
            echo "$net"
            return
        fi
    done
    return 1
}

build_outside() {
    local net
    if [ ! -e "$state/outside/net" ]; then
        mkdir -p "$state/outside/cgi-bin"
        net=$(free_net) || {
            wrong "no free net for the wire: all three of RFC 5737 are in use here"
            return
        }
        echo "$net" >"$state/outside/net"
    fi
    net=$(<"$state/outside/net")
    # shellcheck disable=SC2016  # the server expands it
    printf '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n$REMOTE_ADDR\\n"\n' \
        >"$state/outside/cgi-bin/who"
    chmod +x "$state/outside/cgi-bin/who"
    if ! ip netns exec "$outside" true 2>/dev/null; then
        ip netns add "$outside"
        ip -netns "$outside" link set lo up
    fi
    if ! ip link show "$wire" >/dev/null 2>&1; then
        ip link add "$wire" type veth peer name eth0 netns "$outside"
        ip address add "$net.1/24" dev "$wire"
        ip link set "$wire" up
        ip -netns "$outside" address add "$net.2/24" dev eth0
        ip -netns "$outside" link set eth0 up
    fi
    if [ -z "$(ip netns pids "$outside")" ]; then
        ip netns exec "$outside" busybox httpd -p "$net.2:80" -h "$state/outside"
    fi
    ok "$outside: $net.2, has no route to the networks of the containers"
}

remove_scene() {
    if docker_runs; then
        docker rm --force "${containers[@]}" >/dev/null 2>&1 || true
        local network
        for network in "${networks[@]}"; do
            docker network inspect "$network" >/dev/null 2>&1 || continue
            quietly "remove the network $network" docker network rm "$network"
        done
        docker image rm "$image" >/dev/null 2>&1 || true
        ok "removed ${containers[*]}, ${networks[*]} and their image"
    fi
    if ip netns exec "$outside" true 2>/dev/null; then
        ip netns pids "$outside" | xargs --no-run-if-empty kill
        ip netns delete "$outside"
    fi
    ip link delete "$wire" 2>/dev/null || true
    # `ip netns` mounts the folder on itself, once or twice.
    if [ "$(before netns_mount)" != there ] && [ -z "$(ls -A /run/netns 2>/dev/null)" ]; then
        while mountpoint --quiet /run/netns; do umount /run/netns; done
        [ "$(before /run/netns)" = there ] || rm -rf /run/netns
    fi
    rm -rf "$state/outside"
    ok "removed the wire and what was behind it"
}

pings() { docker exec "$1" ping -c 1 -W 2 "$2" >/dev/null 2>&1; }        # FROM ADDRESS
fetches() { docker exec "$1" wget -q -T 3 -O - "http://$2/" 2>/dev/null; } # FROM ADDRESS

prove() {
    head_line "What reaches what"
    local red blue
    red=$(address lab-red-2)
    blue=$(address lab-blue-1)
    if within 10 pings lab-red-1 "$red"; then
        ok "lab-red-1 pings lab-red-2"
    else
        wrong "lab-red-1 does not reach lab-red-2 by ping"
    fi
    if [ "$(within 10 fetches lab-red-1 "$red")" = lab-red-2 ]; then
        ok "lab-red-1 fetches a page from lab-red-2 by TCP"
    else
        wrong "lab-red-1 does not reach lab-red-2 by TCP"
    fi
    if [ "$(within 10 fetches lab-red-1 lab-red-2)" = lab-red-2 ]; then
        ok "the same by name, from Docker's DNS"
    else
        wrong "lab-red-1 does not find lab-red-2 by name"
    fi
    prove_apart "$blue" ""
    # Only the host could lead from one network to the other: try to talk it into that.
    docker exec --privileged lab-red-1 ip route replace "$blue" via "$(gateway lab-red-1)"
    prove_apart "$blue" ", not even with a route through the gateway"
    docker exec --privileged lab-red-1 ip route replace "$blue" dev eth0
    prove_apart "$blue" ", nor with a route straight onto the wire"
    docker exec --privileged lab-red-1 ip route delete "$blue"
    prove_outside
}

prove_apart() { # ADDRESS OF THE OTHER NETWORK, HOW
    if pings lab-red-1 "$1"; then
        wrong "lab-red-1 reaches lab-blue-1 by ping$2"
    elif [ -n "$(fetches lab-red-1 "$1")" ]; then
        wrong "lab-red-1 reaches lab-blue-1 by TCP$2"
    else
        ok "lab-red-1 does not reach lab-blue-1, by ping or TCP$2"
    fi
}

prove_outside() {
    [ -e "$state/outside/net" ] || return 0
    local net seen
    net=$(<"$state/outside/net")
    if within 10 pings lab-red-1 "$net.2"; then
        ok "lab-red-1 pings the outside ($net.2)"
    else
        wrong "lab-red-1 does not reach the outside by ping"
    fi
    seen=$(docker exec lab-red-1 wget -q -T 5 -O - "http://$net.2/cgi-bin/who" 2>/dev/null) || true
    if [ "$seen" = "$net.1" ]; then
        ok "the outside sees it as $seen, this machine's address: nat works"
    else
        wrong "by TCP the outside sees it as '${seen:-nobody}' instead of $net.1"
    fi
}

show() {
    local command
    for command in "ovsnet network ls" "ovsnet endpoint ls" "ovs-vsctl show"; do
        printf '\n$ %s\n' "$command"
        $command 2>&1 | sed 's/^/  /' || true
    done
}
