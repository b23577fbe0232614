"""The commands of ``promptcert``: each adds its options and answers with an exit code, a JSON document and a text."""
