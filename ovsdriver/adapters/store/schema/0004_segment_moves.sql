-- A network that stands can move to another segment (ovs.vlan), or stop sharing its own
-- (ovs.shared): it may not come on top of those that share it either.

CREATE TRIGGER network_segment_moved BEFORE UPDATE ON network
WHEN NEW.shared = 0
    AND (NEW.bridge <> OLD.bridge OR NEW.tag <> OLD.tag OR OLD.shared = 1)
BEGIN
    SELECT RAISE(ABORT, 'the segment is taken')
    FROM network WHERE bridge = NEW.bridge AND tag = NEW.tag AND id <> NEW.id;
END;
