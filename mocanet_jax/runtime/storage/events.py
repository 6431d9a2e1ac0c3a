"""TensorBoard events, written by the thread that trains: an error is raised where it happens,
and nothing waits for a writer that has died."""

import socket
import time
from contextlib import suppress
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter


class Events:
    """A file of events in a directory. Raises OSError, as its methods do.

    from_step: events of an earlier file from this step on are no longer shown.
    """

    def __init__(self, folder: Path, from_step: int):
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"
        self._writer = RecordWriter(str(folder.absolute() / name))
        try:
            self._write(from_step, file_version="brain.Event:2")
            self._write(from_step, session_log=SessionLog(status=SessionLog.START))
            self.flush()
        except OSError:
            with suppress(OSError):
                self.close()
            raise

    def add(self, step: int, values: dict[str, float]) -> None:
        scalars = [Summary.Value(tag=name, simple_value=x) for name, x in values.items()]
        self._write(step, summary=Summary(value=scalars))

    def _write(self, step, **content):
        event = Event(step=step, wall_time=time.time(), **content)
        self._writer.write(event.SerializeToString())

    def flush(self) -> None:
        """Returns when all is on disk."""
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
