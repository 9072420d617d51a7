"""``ovsnet support``: a file for who looks for a fault, made while anything may be down."""
