from ovsdriver.domain.traffic.talking import EVERYONE, Count, Pair, Place, Places, between, read

WEB, DB, GATEWAY = "0a:0f:0a:01:00:02", "0a:0f:0a:01:00:03", "0a:0f:0a:01:00:01"
IN_USERSPACE = (
    "recirc_id(0),in_port(ovhweb),packet_type(ns=0,id=0),eth(src={},dst={}),eth_type(0x0800),"
    "ipv4(frag=no), packets:{}, bytes:{}, used:0.008s, actions:ovhdb"
)
IN_THE_KERNEL = (
    "recirc_id(0),in_port(ovhdb),skb_mark(0/0),eth(src={},dst={}),eth_type(0x0800),"
    "ipv4(proto=6,frag=no), packets:{}, bytes:{}, used:0.1s, flags:SP., actions:push_vlan(vid=7),3"
)
TO_WEB, TO_DB = Pair("ovhdb", DB, WEB), Pair("ovhweb", WEB, DB)


def test_flows_of_both_datapaths_are_read():
    lines = (
        "flow-dump from the main thread:",
        IN_USERSPACE.format(WEB, DB, 4, 4168),
        IN_THE_KERNEL.format(DB, WEB, 10, 1000),
        "",
    )
    assert list(read(lines).values()) == [(TO_DB, Count(4168, 4)), (TO_WEB, Count(1000, 10))]


def test_what_comes_round_again_and_what_has_no_macs_is_not_counted():
    again = IN_USERSPACE.format(WEB, DB, 4, 4168).replace("recirc_id(0)", "recirc_id(0x2)")
    bare = "recirc_id(0),in_port(2),eth_type(0x0800), packets:1, bytes:60, used:1s, actions:drop"
    assert read((again, bare)) == {}


def test_masked_macs_are_read_as_they_stand():
    line = IN_USERSPACE.format(WEB, "01:00:00:00:00:00/01:00:00:00:00:00", 1, 60)
    (((pair, _)),) = read((line,)).values()
    assert pair.target == "01:00:00:00:00:00"


def test_what_passed_between_two_readings_is_their_difference():
    before = read((IN_USERSPACE.format(WEB, DB, 4, 400), IN_THE_KERNEL.format(DB, WEB, 9, 900)))
    after = read((IN_USERSPACE.format(WEB, DB, 6, 700), IN_THE_KERNEL.format(DB, WEB, 9, 900)))
    assert between(before, after) == {TO_DB: Count(300, 2)}


def test_a_flow_that_came_or_ended_and_came_again_counts_whole():
    line = IN_USERSPACE.format(WEB, DB, 2, 200)
    assert between({}, read((line,))) == {TO_DB: Count(200, 2)}
    before = read((IN_USERSPACE.format(WEB, DB, 50, 5000),))
    assert between(before, read((line,))) == {TO_DB: Count(200, 2)}


def test_several_flows_of_one_pair_are_one():
    arp = IN_USERSPACE.format(WEB, DB, 1, 42).replace("0x0800", "0x0806")
    after = read((arp, IN_USERSPACE.format(WEB, DB, 2, 200)))
    assert between({}, after) == {TO_DB: Count(242, 3)}


def known() -> Places:
    places = Places()
    for network in ("red", "blue"):
        places.add(Place(name=f"{network}/db", network=network), port=f"{network}-db", mac=DB)
        places.add(Place(name=f"{network}/web", network=network), port=f"{network}-web", mac=WEB)
    places.add(Place(name="gateway of blue", network="blue"), port="ovg", mac=GATEWAY)
    places.add(Place(name="outside by eth1"), port="eth1")
    return places


def test_who_sends_tells_which_of_two_networks_with_one_subnet_is_meant():
    assert known().ends(Pair("blue-web", WEB, DB)) == ("blue/web", "blue/db")
    assert known().ends(Pair("red-web", WEB, DB)) == ("red/web", "red/db")
    assert known().ends(Pair("blue-db", DB, GATEWAY)) == ("blue/db", "gateway of blue")
    assert known().ends(Pair("ovg", GATEWAY, WEB)) == ("gateway of blue", "blue/web")


def test_who_is_not_known_is_told_by_mac():
    stranger = "52:54:00:00:00:01"
    assert known().ends(Pair("red-web", WEB, stranger)) == ("red/web", stranger)
    assert known().ends(Pair("foreign0", stranger, WEB))[0] == stranger
    assert known().ends(Pair("eth1", stranger, WEB)) == ("outside by eth1", "red/web")


def test_broadcasts_and_multicasts_go_to_everyone():
    for target in ("ff:ff:ff:ff:ff:ff", "33:33:00:00:00:16", "01:00:5e:00:00:fb"):
        assert known().ends(Pair("red-web", WEB, target)) == ("red/web", EVERYONE)
