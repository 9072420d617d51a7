"""What people are told of segments' leases."""

from netaddr import IPAddress

from ipam import LeaseKind
from ovsdriver.admin.fleet import report as segment_report
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.ports import SharedLease, SharedName

ADDRESS = IPAddress("10.50.0.9")


def test_an_address_of_two_segments_is_of_two_containers() -> None:
    segments = ("blue", "red")
    leases = [
        SharedLease(
            segment=each, address=ADDRESS, kind=LeaseKind.ENDPOINT, host="host2", serial=number
        )
        for number, each in enumerate(segments)
    ]
    names = [
        SharedName(
            segment=each,
            endpoint=EndpointId(f"id-{each}"),
            host="host2",
            names=(f"web-{each}",),
            addresses=(ADDRESS,),
        )
        for each in segments
    ]
    called = segment_report.Called.of(leases, names, None)
    told = [segment_report.segment_lease(each, called) for each in leases]
    assert [(each.segment, each.container) for each in told] == [
        ("blue", "web-blue"),
        ("red", "web-red"),
    ]
