"""Links, addresses, routes and neighbours of the kernel; :mod:`ovsdriver.adapters.links` is on top.

Nothing here is asynchronous: it runs on threads, in the network namespace of the thread.
"""
