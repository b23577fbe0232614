"""The certificate checker: `python3 -I verify/kernel CERT.json...`, standard library only."""

import sys

from verdict import run

sys.exit(run(sys.argv[1:]))
