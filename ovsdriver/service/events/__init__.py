"""Events that no call and no repair tells: what happens to links, ports and names of others."""
