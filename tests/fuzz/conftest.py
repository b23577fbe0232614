"""What is not a test here."""

collect_ignore = ["fuzz_atheris.py"]  # a script that ends where its package is missing
