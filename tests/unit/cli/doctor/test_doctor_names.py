"""What ``ovsnet check`` says of names in access rules."""

import pytest

from ovsdriver.cli.doctor import names
from ovsdriver.cli.doctor.finding import Level

FROM_CONTAINERS, ONLY_WITH_DNS = "from containers", "--dns GATEWAY"


@pytest.mark.parametrize(
    ("version", "resolvers", "settings", "said"),
    [
        ("26.1.5+dfsg1", "nameserver 192.0.2.53\n", "", FROM_CONTAINERS),
        ("26.1.5", "nameserver 127.0.0.53\n", "", ONLY_WITH_DNS),
        ("26.1.5", "nameserver 2001:db8::53\n", "", ONLY_WITH_DNS),
        ("28.5.1", "nameserver 192.0.2.53\n", "", ONLY_WITH_DNS),
        ("29.0.0", "nameserver 192.0.2.53\n", '{"dns": ["192.0.2.53"]}', FROM_CONTAINERS),
        ("29.0.0", "nameserver 192.0.2.53\n", '{"dns": ["127.0.0.1"]}', ONLY_WITH_DNS),
        ("29.0.0", "nameserver 192.0.2.53\n", "no JSON", ONLY_WITH_DNS),
        ("29.0.0", "nameserver 192.0.2.53\n", '{"dns": 7}', ONLY_WITH_DNS),
        ("", "nameserver 192.0.2.53\n", "", ONLY_WITH_DNS),
        ("28.5.1", "# none\nnameserver\n", "", FROM_CONTAINERS),
    ],
)
def test_it_says_whether_containers_need_a_server_of_their_own(
    version: str, resolvers: str, settings: str, said: str
) -> None:
    found = names.judge(version, resolvers, settings)
    assert found.level is Level.OK
    assert said in found.text
