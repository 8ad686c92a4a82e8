"""The runner: papermill underneath, strict parameters, staleness, atomic publication.

`parameters` reads notebooks and profiles, `staleness` decides what must run and why,
`worker` runs one notebook in a process of its own, `publish` moves its results into
place, and `__main__` is the command line behind the Makefile.
"""
