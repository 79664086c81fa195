"""Worker processes: an engine in a process of its own, so that its death is not the service's.

``engine`` holds the front's side, ``host`` the worker's, ``messages`` and ``link`` what is
between them.
"""
