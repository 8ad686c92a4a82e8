"""Graph networks, Gaussian processes and corrections for multi-fidelity materials data.

Import the module you need (``from mfutils import gp``); this file stays empty of
imports so that the runner starts fast and a notebook depends only on what it uses.
"""

__version__ = "0.1.0"
