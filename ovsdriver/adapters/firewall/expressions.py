"""Expressions of rules, as libnftables' JSON has them (libnftables-json(5)). Pure."""

from typing import Any

Object = dict[str, Any]
"""``{"chain": {…}}``, ``{"set": {…}}``, ``{"map": {…}}``, ``{"rule": {…}}``, and their parts."""


def meta(key: str) -> Object:
    """Return what the kernel knows of a packet: ``iifname``, ``l4proto``."""
    return {"meta": {"key": key}}


def payload(protocol: str, field: str) -> Object:
    """Return a field of a header."""
    return {"payload": {"protocol": protocol, "field": field}}


def ct(key: str, direction: str = "") -> Object:
    """Return what conntrack knows of a packet's connection: in one direction, if it is said."""
    return {"ct": {"key": key, **({"dir": direction} if direction else {})}}


def goto(chain: str) -> Object:
    """Return the statement that goes on in another chain, and does not come back."""
    return {"goto": {"target": chain}}


def match(left: Object, right: str | int | bool | list[str] | Object, *, op: str = "==") -> Object:
    """Return a comparison; ``right`` may name a set: ``@gateways``."""
    return {"match": {"op": op, "left": left, "right": right}}


def translated() -> Object:
    """Return what matches a connection whose destination was translated."""
    return match(ct("status"), "dnat", op="in")


def address_type(family: int) -> str:
    """Return the type of an address of ``family`` (4 or 6) in a set."""
    return f"ipv{family}_addr"
