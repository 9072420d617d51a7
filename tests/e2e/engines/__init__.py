"""What Docker says, in every version and with other drivers, and the words people type."""
