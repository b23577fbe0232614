"""The names of the formats of the files that are written here, as they stand in each file's "format"."""

CERTIFICATE = "promptcert-certificate/1"
COUNTEREXAMPLE = "promptcert-counterexample/1"
EXPERIMENTS = "promptcert-experiments/1"
REPORT = "promptcert-report/1"
TARGET = "promptcert-target/1"
