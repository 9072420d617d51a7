-- How many addresses of a pool are kept without an endpoint is counted at start: there are few.
CREATE INDEX ipam_lease_auxiliary ON ipam_lease (pool) WHERE kind = 'aux';
