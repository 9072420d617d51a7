"""What the switch does: bridges, VLANs, uplinks, patches, mirrors, spanning trees, rates."""
