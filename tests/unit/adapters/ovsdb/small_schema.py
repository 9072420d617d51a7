"""A small database schema with one column of each kind, for tests without Open vSwitch."""

from typing import Any

MAP = {"key": "string", "value": "string", "min": 0, "max": "unlimited"}

SCHEMA: dict[str, Any] = {
    "name": "Open_vSwitch",
    "version": "1.0.0",
    "tables": {
        "Bridge": {
            "isRoot": True,
            "columns": {
                "name": {"type": "string"},
                "ports": {
                    "type": {
                        "key": {"type": "uuid", "refTable": "Port"},
                        "min": 0,
                        "max": "unlimited",
                    }
                },
                "external_ids": {"type": MAP},
            },
            "indexes": [["name"]],
        },
        "Port": {
            "columns": {
                "name": {"type": "string"},
                "tag": {
                    "type": {
                        "key": {"type": "integer", "minInteger": 0, "maxInteger": 4095},
                        "min": 0,
                        "max": 1,
                    }
                },
                "trunks": {
                    "type": {
                        "key": {"type": "integer", "minInteger": 0, "maxInteger": 4095},
                        "min": 0,
                        "max": 4096,
                    }
                },
                "number": {"type": "integer"},
                "owner": {"type": {"key": "uuid"}},
                "up": {"type": "boolean"},
                "external_ids": {"type": MAP},
            },
            "indexes": [["name"]],
        },
    },
}

WATCHED = {
    "Bridge": ("name", "ports", "external_ids", "from_the_future"),
    "Port": ("name", "tag", "trunks", "number", "owner", "up", "external_ids"),
}
