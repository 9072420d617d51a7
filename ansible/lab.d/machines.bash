# Machines on this machine: namespaces of their own, and this machine's file system with their own
# changes on top. What runs in them is root's, and nothing of it is seen outside.
# shellcheck shell=bash disable=SC2154  # $state and $here are set by who reads this

machines=$state/machines # a folder for each; NAME/pid names the machine's first process
switch=${switch:-lab-switch} # a network namespace: the wire between them
underlay=198.51.100          # RFC 5737; these addresses are in the machines only

machine_pid() { cat "$machines/$1/pid" 2>/dev/null; } # NAME
machine_runs() { # NAME: a number alone could be anybody's by now
    local pid
    pid=$(machine_pid "$1") && [ -n "$pid" ] \
        && [ "$(readlink "/proc/$pid/ns/pid" 2>/dev/null)" = "$(cat "$machines/$1/ns")" ]
}
in_machine() { ansible_ssh_pids=$machines "$here/lab.d/enter" "$@"; } # NAME COMMAND...

machines_wire() {
    ip netns exec "$switch" true 2>/dev/null || ip netns add "$switch"
    ip -netns "$switch" link show wire >/dev/null 2>&1 || ip -netns "$switch" link add wire type bridge
    ip -netns "$switch" link set wire up
}

machine_start() { # NAME NUMBER: with the changes of before, if it ran before
    local folder=$machines/$1 pid try
    ! machine_runs "$1" || return 0
    mkdir -p "$folder"/{upper,work,docker,root}
    rm -f "$folder"/{pid,ns}
    setsid unshare --fork --pid --mount --uts --ipc --net --propagation private \
        bash "$here/lab.d/first-process" "$folder" "$1" "$machines" </dev/null >"$folder/log" 2>&1 &
    disown # nobody is to be told when it is killed
    for try in $(seq 100); do
        [ ! -e "$folder/ready" ] || break
        [ "$try" -lt 100 ] || { cat "$folder/log" >&2; return 1; }
        sleep 0.1
    done
    rm "$folder/ready"
    pid=$(machine_pid "$1")
    readlink "/proc/$pid/ns/pid" >"$folder/ns"
    ip -netns "$switch" link delete "to-$1" 2>/dev/null || true
    ip -netns "$switch" link add "to-$1" type veth peer name eth0 netns "$pid"
    ip -netns "$switch" link set "to-$1" master wire up
    in_machine "$1" "ip link set lo up && ip link set eth0 up && ip address add $underlay.$2/24 dev eth0"
}

machine_kill() { # NAME: as if somebody pulled the plug; its file system stays
    local pid
    ! machine_runs "$1" || { pid=$(machine_pid "$1") && kill -9 "$pid"; }
    while machine_runs "$1"; do sleep 0.1; done
    ip -netns "$switch" link delete "to-$1" 2>/dev/null || true
}

machines_remove() {
    local folder
    for folder in "$machines"/*/; do
        [ ! -e "$folder" ] || machine_kill "$(basename "$folder")"
    done
    ip netns delete "$switch" 2>/dev/null || true
    rm -rf "$machines"
}

# Machines reach no registry, so what pip would install is packed here, again when anything is newer.
machines_wheels() {
    local folder=$machines/shared/wheels wheel
    wheel=$(echo "$folder"/ovsnet-*.whl)
    [ ! -e "$wheel" ] || [ -n "$(find "$here"/../{ovsdriver,ipam,pyproject.toml} -newer "$wheel" -name '*[!c]' -type f -print -quit)" ] || return 0
    rm -rf "$folder"
    mkdir -p "$folder"
    python3 -m venv "$state/packer"
    "$state/packer/bin/python" -m pip --quiet wheel --wheel-dir "$folder" "$here/.."
    rm -rf "$state/packer"
}

machines_inventory() { # CENTRAL-COUNT NAME...: the second machine's address ends in 2
    local count=$1 each number=0
    shift
    echo "[ovsnet]"
    for each; do
        number=$((number + 1))
        echo "$each ovn_address=$underlay.$number"
    done
    echo "[ovn_central]"
    printf '%s\n' "${@:1:count}"
    # An ssh that is none; see enter.
    cat <<VARIABLES
[all:vars]
ansible_connection=ssh
ansible_user=root
ansible_ssh_executable=$here/lab.d/enter
ansible_ssh_transfer_method=piped
ansible_ssh_args=
ansible_pipelining=true
ansible_python_interpreter=/usr/bin/python3
ovn_authority_dir=$state/authority
ovsnet_wheel=$(echo "$machines"/shared/wheels/ovsnet-*.whl)
ovsnet_pip_arguments=["--no-index", "--find-links=/run/shared/wheels"]
VARIABLES
}
