"""The certificate checker: `python3 -I verify/kernel CERT.json...`, standard library only."""

import sys

sys.dont_write_bytecode = True  # the folder holds the hashed sources and nothing else

from verdict import run  # noqa: E402

sys.exit(run(sys.argv[1:]))
