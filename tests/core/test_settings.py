import os
from pathlib import Path

import pytest

from core.settings import InvalidSettings, Settings, load


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for group in Settings.model_fields:
        for key in list(os.environ):
            if key.startswith(f"MILKRUN_{group.upper()}_"):
                monkeypatch.delenv(key)
    monkeypatch.delenv("MILKRUN_CONFIG", raising=False)


def config(monkeypatch, folder: Path, text: str) -> None:
    file = folder / "milkrun.toml"
    file.write_text(text)
    monkeypatch.setenv("MILKRUN_CONFIG", str(file))


def test_without_anything_the_defaults_hold():
    settings = load()
    assert settings.bus.partitions == 16
    assert settings.metrics.port is None


def test_the_environment_sets_nested_values_and_their_types(monkeypatch):
    monkeypatch.setenv("MILKRUN_BUS_PARTITIONS", "4")
    monkeypatch.setenv("MILKRUN_DATABASE_APP_URL", "postgresql://a@b/c")
    monkeypatch.setenv("MILKRUN_LOG_JSON_LINES", "false")
    monkeypatch.setenv("MILKRUN_MQTT_CA_FILE", "/x/ca.crt")
    settings = load()
    assert (settings.bus.partitions, settings.database.app_url) == (4, "postgresql://a@b/c")
    assert (settings.log.json_lines, settings.mqtt.ca_file) == (False, Path("/x/ca.crt"))


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(monkeypatch, tmp_path):
    config(monkeypatch, tmp_path, "[bus]\npartitions = 2\nretry_limit = 9\n\n[log]\nlevel = 'debug'\n")
    monkeypatch.setenv("MILKRUN_BUS_PARTITIONS", "3")
    settings = load()
    assert (settings.bus.partitions, settings.bus.retry_limit, settings.log.level) == (3, 9, "debug")
    assert settings.bus.max_lag == Settings().bus.max_lag


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("MILKRUN_BUS_PARTITIONS", "0", "greater than or equal to 1"),
        ("MILKRUN_BUS_PARTITIONS", "many", "valid integer"),
        ("MILKRUN_MQTT_PORT", "70000", "less than or equal to 65535"),
        ("MILKRUN_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("MILKRUN_BROKER_KIND", "emqx", "'mosquitto', 'amqtt' or 'aws'"),
        ("MILKRUN_INGEST_MAX_SPEED_MPS", "fast", "valid number"),
    ],
)
def test_a_wrong_value_names_its_key_what_was_given_and_what_is_allowed(monkeypatch, name, value, allowed):
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings) as caught:
        load()
    assert name in str(caught.value)
    assert value in str(caught.value)
    assert allowed in str(caught.value)


def test_every_wrong_value_is_named_at_once(monkeypatch, tmp_path):
    config(monkeypatch, tmp_path, "[bus]\npartitions = 0\n[mqtt]\nprotocol = 3\n")
    with pytest.raises(InvalidSettings, match=r"MILKRUN_BUS_PARTITIONS.*MILKRUN_MQTT_PROTOCOL"):
        load()


def test_a_wrong_password_url_is_not_repeated_in_the_message(monkeypatch, tmp_path):
    config(monkeypatch, tmp_path, "[database]\nurl = 'postgresql://o:hush@h/d'\npool_size = 0\n")
    with pytest.raises(InvalidSettings) as caught:
        load()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("name", ["MILKRUN_BUS_PARTITION", "MILKRUN_DATABASE_PASSWORD", "MILKRUN_INGEST_"])
def test_an_unknown_variable_is_refused_with_the_names_allowed(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(InvalidSettings, match=f"{name} is no setting; allowed here: MILKRUN_"):
        load()


@pytest.mark.parametrize("text", ["[bus]\nsize = 3\n", "[bsu]\npartitions = 3\n", "partitions = 3\n"])
def test_an_unknown_key_or_table_in_the_file_is_refused(monkeypatch, tmp_path, text):
    config(monkeypatch, tmp_path, text)
    with pytest.raises(InvalidSettings):
        load()


@pytest.mark.parametrize("text", ["[bus\n", "bus = 3\n"])
def test_a_file_that_cannot_be_read_is_refused_in_words(monkeypatch, tmp_path, text):
    config(monkeypatch, tmp_path, text)
    with pytest.raises(InvalidSettings):
        load()


def test_a_file_that_is_not_there_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("MILKRUN_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(InvalidSettings, match=r"none\.toml, which is not a file"):
        load()


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        load().bus.partitions = 3
