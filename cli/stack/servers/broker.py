"""The MQTT broker as a part of the local stack: Mosquitto where it is installed, else the embedded one."""

from pathlib import Path

from broker import mosquitto
from broker.embedded import launch
from broker.mosquitto import InvalidBrokerConfig, MosquittoConfig, MosquittoNotFound
from cli.stack.process import Child, Command, is_listening
from core.settings import BrokerSettings

KINDS = ("mosquitto", "amqtt")


def choose(settings: BrokerSettings) -> str:
    """The broker MILKRUN_BROKER_KIND names, else Mosquitto where it is installed, else amqtt.

    Raises InvalidBrokerConfig for one that is not run on this machine.
    """
    if settings.kind not in KINDS:
        raise InvalidBrokerConfig(f"MILKRUN_BROKER_KIND is {settings.kind}; a local stack has {' or '.join(KINDS)}")
    if "kind" in settings.model_fields_set:
        return settings.kind
    try:
        mosquitto.executable()
    except MosquittoNotFound:
        return "amqtt"
    return "mosquitto"


class BrokerPart:
    """A broker of one kind with the configuration of `broker.mosquitto`, which both kinds follow."""

    def __init__(self, kind: str, config: MosquittoConfig, *, logs: Path) -> None:
        self.name = kind
        self._config = config
        self._logs = logs
        self.child: Child | None = None

    def start(self) -> Child:
        """Start and return when both listeners take connections. Raises StartFailed, DiskFull, MosquittoNotFound."""
        self.child = Child(self._mosquitto() if self.name == "mosquitto" else self._amqtt())
        try:
            self.child.wait_ready(self._is_ready, timeout_s=60)
        except BaseException:
            self.child.kill()
            raise
        return self.child

    def _mosquitto(self) -> Command:
        mosquitto.prepare(self._config)
        argv, env = mosquitto.command(self._config)
        # What Mosquitto says before it has opened its log goes to the same file. The broker service reads that log by
        # position and frees what it has read, so it is not ours to rotate.
        return Command(self.name, tuple(argv), self._config.log_file, env=env, grace_s=30, rotates=False)

    def _amqtt(self) -> Command:
        launch.prepare(self._config)
        return Command(self.name, tuple(launch.command(self._config)), self._logs / "amqtt.log")

    def _is_ready(self) -> bool:
        return is_listening(self._config.device_port) and is_listening(self._config.service_port)
