"""Mosquitto as a part of the local stack."""

from broker import mosquitto
from broker.mosquitto import MosquittoConfig
from cli.stack.process import Child, Command, is_listening


class Mosquitto:
    """The broker with the configuration of `broker.mosquitto`. Sessions and queues outlive a stop and a crash."""

    def __init__(self, config: MosquittoConfig) -> None:
        self.name = "mosquitto"
        self._config = config
        self.child: Child | None = None

    def start(self) -> Child:
        """Start and return when both listeners take connections. Raises StartFailed, DiskFull, MosquittoNotFound."""
        mosquitto.prepare(self._config)
        argv, env = mosquitto.command(self._config)
        # What Mosquitto says before it has opened its log goes to the same file. The broker service reads that log by
        # position and frees what it has read, so it is not ours to rotate.
        command = Command(self.name, tuple(argv), self._config.log_file, env=env, grace_s=30, rotates=False)
        self.child = Child(command)
        try:
            self.child.wait_ready(self._is_ready, timeout_s=60)
        except BaseException:
            self.child.kill()
            raise
        return self.child

    def _is_ready(self) -> bool:
        return is_listening(self._config.device_port) and is_listening(self._config.service_port)
