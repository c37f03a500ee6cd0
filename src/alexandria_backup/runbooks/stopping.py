"""What a run knows of the application that it stops, whatever it exchanges meanwhile."""

from alexandria_backup.platforms.platform import StopRecord
from alexandria_backup.runbooks.step import RunState


class StoppingState(RunState):
    """The state of a run that stops the application and starts it again."""

    #: What stopping the application found; needed to start it as it was.
    stopped: StopRecord | None = None
