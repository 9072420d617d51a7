import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import EUI

from ovsdriver.words import values


@pytest.mark.parametrize("text", ["1", "100", "4094"])
def test_a_vlan_id_is_read(text):
    assert values.vlan(text) == int(text)


@pytest.mark.parametrize("text", ["none", "None", "NONE"])
def test_none_is_the_segment_without_a_tag(text):
    assert values.vlan(text) == 0


@pytest.mark.parametrize(
    "text",
    ["0", "4095", "4096", "-1", "abc", "", " 5", "5 ", "1e2", "0x10", "\u0665", "10-20", "5.0"],
)
def test_what_is_no_vlan_id_is_refused_with_the_range(text):
    with pytest.raises(ValueError, match="is not a VLAN id: 1 to 4094, or `none`"):
        values.vlan(text)


@pytest.mark.parametrize("text", ["68", "1500", "65535"])
def test_an_mtu_is_read(text):
    assert values.mtu(text) == int(text)


@pytest.mark.parametrize("text", ["67", "0", "-5", "65536", "70000", "big", ""])
def test_what_is_no_mtu_is_refused_with_the_range(text):
    with pytest.raises(ValueError, match="is not an MTU in bytes: 68 to 65535"):
        values.mtu(text)


@pytest.mark.parametrize("text", ["br0", "br-ovsnet", "a" * 15, "ü" * 7, "br.1"])
def test_a_bridge_name_is_what_the_kernel_takes(text):
    assert values.link_name(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a" * 16, "has 16 bytes"),
        ("ü" * 8, "has 16 bytes"),
        ("a/b", "cannot be a bridge's name"),
        ("a b", "cannot be"),
        ("a\tb", "cannot be"),
        ("a\x00b", "cannot be"),
        ("a:b", "cannot be"),
        ("br%d", "cannot be"),
        ("br\x1b[2J", "cannot be"),
        ("br0\n", "cannot be"),
        ("-br0", "cannot be"),
        ("br0;reboot", "cannot be"),
        ("$(reboot)", "cannot be"),
        ("`reboot`", "cannot be"),
        ("br'0", "cannot be"),
        ('br"0', "cannot be"),
        ("br*", "cannot be"),
        ("@br0", "cannot be"),
        (".", "cannot be"),
        ("..", "cannot be"),
        ("", "cannot be"),
    ],
)
def test_a_bridge_name_that_the_kernel_or_a_shell_takes_for_more_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        values.link_name(text)


@pytest.mark.parametrize(
    "text",
    [
        *("10.0.0", "10.0.0.0", "10.0.0.0/33", "fd00::/129", "10.0.0.0/255.255.255.0", "/24"),
        *("x/24", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/2 4", "10.0.0.0/24/24", ""),
        "fe80::1%eth0/64",
    ],
)
def test_what_is_no_subnet_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"is not a subnet; write it like 10\.0\.0\.0/24"):
        values.subnet(text)


def test_a_subnet_keeps_its_host_bits():
    assert str(values.subnet("10.0.0.7/24")) == "10.0.0.7/24"


@pytest.mark.parametrize(
    "text", ["10.0.0", "1", "0x7f000001", "010.0.0.1", "::g", "fe80::1%lo", ""]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="is not an address"):
        values.address(text)


def test_an_address_with_a_prefix_length_is_refused():
    with pytest.raises(ValueError, match="has a prefix length"):
        values.address("10.0.0.1/24")


@pytest.mark.parametrize("text", ["02:42:ac:11:00:02", "02-42-AC-11-00-02"])
def test_a_mac_is_read_with_colons_or_dashes(text):
    assert values.mac(text) == EUI(0x0242AC110002, version=48)
    assert str(values.mac(text)) == "02:42:ac:11:00:02"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("02:42:ac:11:00", "is not a MAC"),
        ("02:42-ac:11:00:02", "is not a MAC"),
        ("0242ac110002", "is not a MAC"),
        ("02:42:ac:11:00:0g", "is not a MAC"),
        ("", "is not a MAC"),
        ("01:00:5e:00:00:01", "is not the address of one interface"),
        ("ff:ff:ff:ff:ff:ff", "is not the address of one interface"),
        ("00:00:00:00:00:00", "is not the address of one interface"),
    ],
)
def test_what_no_interface_can_have_as_mac_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        values.mac(text)


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("TRUE", True), ("1", True), ("no", False), ("off", False)]
)
def test_truths_are_read_without_case(text, value):
    assert values.flag(text) is value


@pytest.mark.parametrize("text", ["", "ja", "2", "t rue"])
def test_what_is_no_truth_is_refused(text):
    with pytest.raises(ValueError, match="neither `true` nor `false`"):
        values.flag(text)


@pytest.mark.parametrize("text", ["eth", "net-1_", "a" * 12])
def test_an_interface_prefix_leaves_room_for_a_number(text):
    assert values.interface_prefix(text) == text


@pytest.mark.parametrize("text", ["a" * 13, "1eth", "e th", "e/h", "", "eth%"])
def test_an_interface_prefix_that_no_interface_can_have_is_refused(text):
    with pytest.raises(ValueError, match="cannot begin an interface's name"):
        values.interface_prefix(text)


@pytest.mark.parametrize("text", ["blue", "Blue-2", "a.b_c", "0"])
def test_a_space_is_named(text):
    assert values.space(text) == text


@pytest.mark.parametrize("text", ["", "-a", "a/b", "a b", "x" * 64, ".."])
def test_a_space_that_could_name_no_socket_is_refused(text):
    with pytest.raises(ValueError, match="cannot name an address space"):
        values.space(text)


def test_names_of_swarms_spaces_are_kept():
    with pytest.raises(ValueError, match="kept for swarm"):
        values.space("blue-global")


def test_the_nearest_name_is_found():
    known = ["ovs.vlan", "ovs.mode", "ovs.mtu"]
    assert values.nearest("ovs.vlna", known) == "; did you mean `ovs.vlan`?"
    assert values.nearest("mtu", known) == "; did you mean `ovs.mtu`?"
    assert values.nearest("zzz", known) == ""


@pytest.mark.slow
@given(st.text())
def test_a_quoted_text_is_one_printable_line(text):
    quoted = values.quote(text)
    assert quoted.isprintable()
    assert quoted[0] == quoted[-1] == '"'


@pytest.mark.parametrize(
    "parse",
    [
        values.address,
        values.interface,
        values.subnet,
        values.mac,
        values.flag,
        values.vlan,
        values.mtu,
        values.link_name,
        values.interface_prefix,
        values.space,
    ],
)
@given(st.one_of(st.text(), st.from_regex(r"[0-9a-f:./-]{0,40}", fullmatch=True)))
def test_any_text_is_a_value_or_a_sentence(parse, text):
    sentence = "read without objection"
    try:
        parse(text)
    except ValueError as error:
        sentence = str(error)
    assert sentence.isprintable()
    assert len(sentence) > 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", (10,)),
        ("20-22,10", (10, 20, 21, 22)),
        ("10+20-21+20", (10, 20, 21)),
        ("4094; 1 - 2", (1, 2, 4094)),
        ("7-7", (7,)),
    ],
)
def test_a_list_of_vlans_is_read_in_order_and_without_doubles(text, expected):
    assert values.vlans(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", '"" is not a VLAN id: 1 to 4094; write it like 10+20-30'),
        ("10,,20", '"" is not a VLAN id'),
        ("0", '"0" is not a VLAN id'),
        ("1-4095", '"4095" is not a VLAN id'),
        ("-5", '"" is not a VLAN id'),
        ("5-", '"" is not a VLAN id'),
        ("1-2-3", '"2-3" is not a VLAN id'),
        ("30-20", "30-20 is not a range; write 20-30"),
        ("10 20", '"10 20" is not a VLAN id'),
        ("none", '"none" is not a VLAN id'),
    ],
)
def test_what_is_no_list_of_vlans_is_refused_with_the_part_that_is_wrong(text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        values.vlans(text)
