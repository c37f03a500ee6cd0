"""The `alexandria` program, which `python -m alexandria_backup` is, too.

Every process that another one starts imports this file once more, so it imports nothing.
"""

from typing import NoReturn


def main() -> NoReturn:
    """Run the program with the arguments of this process, and exit with an `ExitCode`."""
    from alexandria_backup.cli.main import main as run  # noqa: PLC0415 - as the file says

    run()


if __name__ == "__main__":
    main()
