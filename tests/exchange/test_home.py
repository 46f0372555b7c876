"""An exchange's folder, its settings, and a backup that gives both back."""

import json
import os
import stat
import tarfile

import pytest

from fedjoint.errors import ConfigError, IdentityError, InvalidValue
from fedjoint.exchange.backup import back_up, restore
from fedjoint.exchange.home import create_home, open_home, renew_certificate
from fedjoint.exchange.settings import load_settings
from fedjoint.exchange.store_sql import ExchangeStore
from fedjoint.identity.certificates import check_certificate, read_certificate
from fedjoint.pool.record_store_sql import PoolStore
from tests.exchange.conftest import now


@pytest.fixture
def home(tmp_path):
    return create_home(tmp_path / "exchange", name="E", party="exchange", address="localhost:8443", now=now())


def settings_of(home, **environment):
    return load_settings(home.settings_file, environment)


def test_secrets_are_readable_by_their_owner_alone(home):
    for path in (home.identity, home.authority_key, home.tls_key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700


def test_a_home_is_made_once_and_known_again(home, tmp_path):
    assert open_home(home.folder).load_identity().public == home.load_identity().public
    with pytest.raises(ConfigError, match="is not empty"):
        create_home(home.folder, name="E", party="exchange", address="localhost:8443", now=now())
    with pytest.raises(ConfigError, match="is no exchange's folder"):
        open_home(tmp_path)
    with pytest.raises(InvalidValue, match="host:port"):
        create_home(tmp_path / "other", name="E", party="exchange", address="localhost", now=now())
    with pytest.raises(ConfigError, match="cannot be made"):
        create_home(home.identity / "below", name="E", party="exchange", address="localhost:1", now=now())


def test_a_missing_key_is_told(home):
    home.tls_certificate.unlink()
    with pytest.raises(IdentityError, match=r"tls.pem cannot be read"):
        home.load_credentials()


def test_settings_come_from_the_file_and_the_environment(home, tmp_path):
    found = settings_of(home, FEDJOINT_EXCHANGE_BEAT_S="2.5", FEDJOINT_EXCHANGE_HOSTS="a.example, 10.0.0.1", HOME="/")
    assert (found.address, found.beat_s) == ("localhost:8443", 2.5)
    assert found.certificate_hosts == ("localhost", "a.example", "10.0.0.1")
    assert settings_of(home, FEDJOINT_EXCHANGE_METRICS_PORT="null").metrics_port is None
    assert home.database_url(found) == f"sqlite:///{home.database}"
    assert home.database_url(settings_of(home, FEDJOINT_EXCHANGE_DATABASE_URL="sqlite://")) == "sqlite://"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("BEATS", "1", "unknown key 'settings.beats'"),
        ("BEAT_S", "often", "BEAT_S = 'often'; expected a number"),
        ("TASK_TIMEOUT_S", "-1", "task_timeout_s = -1"),
        ("LISTEN", "8443", "listen = '8443'"),
        ("LOG_LEVEL", "loud", "log_level"),
    ],
)
def test_a_wrong_setting_is_named(home, name, text, words):
    with pytest.raises(ConfigError, match=words):
        settings_of(home, **{f"FEDJOINT_EXCHANGE_{name}": text})


def test_a_database_url_with_a_password_comes_from_a_file_of_its_own(home):
    secret = home.folder / "url"
    secret.write_text("postgresql://u:p@host/db\n")
    found = settings_of(home, FEDJOINT_EXCHANGE_DATABASE_URL_FILE=str(secret))
    secret.chmod(0o644)
    with pytest.raises(IdentityError, match="can be read by others"):
        home.database_url(found)
    secret.chmod(0o600)
    assert home.database_url(found) == "postgresql://u:p@host/db"
    text = home.settings_file.read_text().replace("database_url: null", "database_url: sqlite://")
    home.settings_file.write_text(text)
    with pytest.raises(ConfigError, match="both given"):
        settings_of(home, FEDJOINT_EXCHANGE_DATABASE_URL_FILE="url")


def test_its_certificate_is_renewed_for_further_hosts(home):
    before = read_certificate(home.load_credentials().certificate_pem).serial
    renew_certificate(home, settings_of(home, FEDJOINT_EXCHANGE_HOSTS="10.0.0.1"), now=now())
    after = check_certificate(home.load_credentials().certificate_pem, home.load_authority().pem, now=now())
    assert after.role == "exchange" and after.serial != before


@pytest.fixture
def backup(home, tmp_path):
    with ExchangeStore.open(home.database_url(settings_of(home))) as store:
        store.wishes.make("kept", at="2026-01-01")
        (home.runs / "a-run").mkdir()
        (home.runs / "a-run" / "report.json").write_text("{}")
        (home.runs / ".b-run.x.partial").mkdir()
        (home.runs / ".b-run.x.partial" / "record.jsonl").write_text("")
        assert back_up(home, settings_of(home), tmp_path / "backup") == ()  # while the database is open
    return tmp_path / "backup"


def test_a_restored_exchange_has_keys_database_and_runs(home, backup, tmp_path):
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    again = restore(backup, tmp_path / "again")
    assert again.load_identity().public == home.load_identity().public
    assert again.load_credentials() == home.load_credentials()
    assert stat.S_IMODE(again.identity.stat().st_mode) == 0o600
    assert [path.name for path in again.runs.iterdir()] == ["a-run"]
    with ExchangeStore.open(again.database_url(settings_of(again))) as store:
        assert store.wishes.take("kept")


def test_a_backup_has_the_pool_that_is_in_the_folder_and_names_what_is_elsewhere(home, tmp_path):
    (home.folder / "pool").mkdir()
    with PoolStore.open(home.pool_url(settings_of(home, FEDJOINT_EXCHANGE_POOL="pool"))) as pool:
        assert pool.state().size == 0  # it is open meanwhile
        assert back_up(home, settings_of(home, FEDJOINT_EXCHANGE_POOL="pool"), tmp_path / "with") == ()
    again = restore(tmp_path / "with", tmp_path / "again")
    assert again.pool_file(settings_of(home, FEDJOINT_EXCHANGE_POOL="pool")).is_file()
    elsewhere = settings_of(home, FEDJOINT_EXCHANGE_POOL="../pool", FEDJOINT_EXCHANGE_DATABASE_URL="postgresql://h/d")
    assert back_up(home, elsewhere, tmp_path / "without") == ("the exchange's database", "the pool's database")


def test_a_backup_is_never_overwritten_and_restored_into_nothing_else(home, backup, tmp_path):
    with pytest.raises(IdentityError, match="is never overwritten"):
        back_up(home, settings_of(home), backup)
    with pytest.raises(IdentityError, match="cannot be written"):
        back_up(home, settings_of(home), tmp_path / "none" / "backup")
    with pytest.raises(ConfigError, match="is not empty"):
        restore(backup, home.folder)


def test_a_changed_backup_is_refused_and_leaves_nothing(backup, tmp_path):
    target = tmp_path / "again"
    with pytest.raises(ConfigError, match="cannot be read as a backup"):
        restore(tmp_path / "none", target)
    short = tmp_path / "short"
    short.write_bytes(backup.read_bytes()[:-200])
    with pytest.raises(ConfigError):
        restore(short, target)
    unpacked = tmp_path / "unpacked"
    with tarfile.open(backup) as archive:
        archive.extractall(unpacked, filter="data")
    for change, words in (
        (lambda: (unpacked / "exchange.yaml").write_text("{}"), "not as it was written"),
        (lambda: (unpacked / "manifest.json").write_text(json.dumps({"format": "other"})), "no backup of an exchange"),
    ):
        change()
        altered = tmp_path / os.urandom(4).hex()
        with tarfile.open(altered, "w:gz") as archive:
            for path in unpacked.iterdir():
                archive.add(path, path.name)
        with pytest.raises(ConfigError, match=words):
            restore(altered, target)
    assert list(target.iterdir()) == []
