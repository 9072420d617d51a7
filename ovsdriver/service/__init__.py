"""The operations: create, attach, detach, delete, repair. Over ports; touches nothing.

``networks`` and ``attach`` do what Docker asks, ``aspects`` what a network or an endpoint has
beside its port, ``repair`` and ``forgotten`` look after both, ``change`` is ``ovsnet set``.
"""
