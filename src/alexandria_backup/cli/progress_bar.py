"""A bar that moves on a terminal while a step works."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar:
    """One bar for one piece of work; gone from the screen once it is closed."""

    def __init__(self, console: Console, said: str, total: int | None) -> None:
        self._bar = Progress(
            TextColumn("      {task.description}"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task(said, total=total)
        self._bar.start()

    def move(self, said: str, done: int, total: int | None) -> None:
        """Show how far the work is."""
        self._bar.update(self._task, description=said, completed=done, total=total)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()
