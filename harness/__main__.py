"""The program `harness`, and `python -m harness`. Nothing but `startup` is imported before that has done its work."""

from harness import startup


def main() -> None:
    """Entry point of the program."""
    startup.leave_on_interrupt()
    startup.open_standard_streams()
    startup.forget_odd_width()
    from harness import cli, console

    console.take_over_streams()
    try:
        cli.main()
    finally:
        startup.leave_on_interrupt()


if __name__ == "__main__":
    main()
