"""Our nftables table, and what other firewalls of the host do to its packets.

Begin with ``firewall.py``; ``nft_rules.py`` renders the table, ``chain_readers.py`` finds
foreign drops.
"""
