"""Our process, impatient: the collector's minutes are seconds, and a store that could not be opened
is tried again at once; arguments as those of ``ovsnet``."""

from functools import partial

from ovsdriver import bootstrap
from ovsdriver.__main__ import main
from ovsdriver.service import foreign_pools, ipam_console, ipam_report, lost_networks, report
from ovsdriver.service.collector import Collector

INTERVAL_S = 1.0

if __name__ == "__main__":
    for name in ("LEASE_PATIENCE_S", "READINGS_APART_S", "POOL_PATIENCE_S"):
        setattr(foreign_pools, name, getattr(foreign_pools, name) / 60.0)
    for name in ("READINGS_APART_S", "PATIENCE_S"):
        setattr(lost_networks, name, getattr(lost_networks, name) / 60.0)
    for module in (ipam_report, report):
        module.SETTLING_S = 1.0
    ipam_console.VIEW_S = 0.0
    bootstrap.RETRY_S = 0.2
    bootstrap.Collector = partial(Collector, interval_s=INTERVAL_S)
    main()
