"""Let `python -m alexandria_backup` be the `alexandria` program."""

from alexandria_backup.cli.main import main

if __name__ == "__main__":
    main()
