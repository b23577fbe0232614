"""Tests an implementation of the certificate checker against vectors.json beside this file. Standard library only.

    python3 docs/conformance/run.py                   the checker of this repository
    python3 docs/conformance/run.py -- COMMAND ...    another one

COMMAND is given one file name more and has to answer by its exit code: 0 true, 1 false, 4 not a certificate, 3 given up
at limits of its own. Printed is a line for each wrong answer and a count. Exit code: 0 if all answers are right, 1 if
one is wrong, 3 if none is wrong and some were given up.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
KERNEL = [sys.executable, "-I", str(HERE.parents[1] / "verify" / "kernel")]
CODES = {"true": 0, "false": 1, "not a certificate": 4}
GIVEN_UP = 3


def main(arguments: list[str]) -> int:
    command = arguments[1:] if arguments[:1] == ["--"] else arguments or KERNEL
    vectors = json.loads((HERE / "vectors.json").read_text(encoding="utf-8"))["certificates"]
    right = given_up = 0
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.json"
        for vector in vectors:
            path.write_bytes(vector["file"].encode("utf-8"))
            code = subprocess.run([*command, str(path)], capture_output=True, check=False).returncode
            if code == CODES[vector["verdict"]]:
                right += 1
            elif code == GIVEN_UP:
                given_up += 1
            else:
                expected = f"expected {vector['verdict']} ({vector['says']})"
                wrong.append(f"{vector['name']}: {expected}, found exit code {code}")
    for line in wrong:
        sys.stdout.write(line + "\n")
    sys.stdout.write(f"{right} right, {len(wrong)} wrong, {given_up} given up\n")
    return 1 if wrong else GIVEN_UP if given_up else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
